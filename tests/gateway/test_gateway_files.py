"""Whole files over HTTP, and what a gateway says of itself."""

import io
import json
import re
import socket
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest
import soundfile
from helpers.servers.gateways import PATIENCE_S, RunningGateway, frames_of, running_gateway, wait_until
from numpy.typing import NDArray

from tritone_client import Codec
from tritone_client.gateway.app import application
from tritone_client.gateway.failures import TooLargeError
from tritone_client.gateway.settings import Settings
from tritone_client.gateway.sound_files import audio_in_file

Tokens = NDArray[np.int64]
Speech = tuple[NDArray[np.float32], int]


@pytest.fixture(scope="module")
def web(gateway: RunningGateway) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=f"http://{gateway.address}", timeout=PATIENCE_S, trust_env=False) as client:
        yield client


def npy(array: NDArray[np.generic]) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


@pytest.mark.parametrize(
    ("accept", "kind", "subtype", "rate_hz"),
    [
        ("*/*", "audio/wav", "PCM_16", 22050),
        ("audio/*", "audio/wav", "PCM_16", 22050),
        ("audio/flac;q=1, audio/wav", "audio/flac", "PCM_16", 22050),
        ("audio/ogg", "audio/ogg", "OPUS", 24000),
    ],
)
@pytest.mark.parametrize("sent", ["json", "npy"])
def test_tokens_become_the_file_that_is_accepted(
    accept: str,
    kind: str,
    subtype: str,
    rate_hz: int,
    sent: str,
    web: httpx.Client,
    mini: Codec,
    tokens: Tokens,
) -> None:
    body = npy(tokens) if sent == "npy" else json.dumps({"tokens": tokens.tolist()}).encode()
    answer = web.post("/v1/decode", content=body, headers={"Accept": accept})
    assert (answer.status_code, answer.headers["content-type"]) == (200, kind)
    assert soundfile.info(io.BytesIO(answer.content)).subtype == subtype
    audio, found_hz = soundfile.read(io.BytesIO(answer.content), dtype="float32")
    assert found_hz == rate_hz
    if subtype != "OPUS":
        assert np.abs(audio - np.clip(mini.decode(tokens), -1, 1)).max() < 1e-4


def test_a_file_may_have_another_rate(web: httpx.Client, tokens: Tokens) -> None:
    answer = web.post("/v1/decode?codec=nanocodec_mini&sample_rate=16000", content=npy(tokens))
    assert soundfile.info(io.BytesIO(answer.content)).samplerate == 16000


@pytest.mark.parametrize("kind", ["application/json", "application/x-npy"])
def test_a_file_becomes_tokens(kind: str, web: httpx.Client, speech: Speech, tokens: Tokens) -> None:
    file = io.BytesIO()
    soundfile.write(file, *speech, format="FLAC", subtype="PCM_24")
    answer = web.post("/v1/encode", content=file.getvalue(), headers={"Accept": kind})
    assert (answer.status_code, answer.headers["content-type"]) == (200, kind)
    found = np.load(io.BytesIO(answer.content)) if "npy" in kind else np.array(answer.json()["tokens"])
    assert np.mean(found == tokens) > 0.99


@pytest.mark.parametrize(
    ("path", "body", "status", "words"),
    [
        ("decode", b"RIFF....WAVE", 400, "the body is an audio file; send tokens"),
        ("decode", b"PK\x03\x04", 400, "the body is a zip archive; send tokens [K, T] as JSON, or as .npy"),
        ("decode", b"", 400, "the body is empty"),
        ("decode", b"[[1, 2], [3]]", 400, "tokens"),
        ("decode", b"7", 400, "takes tokens [8, T]"),
        ("decode", b'{"\\ud800": 1, "b": 2}', 400, "tokens"),
        ("decode", npy(np.zeros((8, 3), int)).replace(b"(8, 3)", b"(9" + b"0" * 20 + b",)", 1), 400, "NumPy"),
        ("decode", npy(np.zeros((8, 3))), 400, "tokens are integers, got float64"),
        ("decode", npy(np.zeros((3, 8), int)), 400, "if they are [T, K], pass their transpose"),
        ("decode", npy(np.zeros((8, 3), int))[:-9], 400, "cannot be read as a NumPy array"),
        ("decode", npy(np.zeros((8, 20_000), np.uint8)), 413, "at most 600 s of audio, got 929 s"),
        ("decode?speed=2", b"", 400, "there is no parameter 'speed'; there is codec, sample_rate"),
        ("decode?codec=mimi", b"", 404, "does not serve codec 'mimi'; it serves: nanocodec_mini"),
        ("decode?sample_rate=1", b"", 400, "4000..192000 Hz"),
        ("encode", b"hello", 400, "the body is not an audio file that can be read"),
        ("encode", npy(np.zeros(3)), 400, "it is a NumPy array, perhaps of tokens"),
        ("encode?codebooks=x", b"", 400, "codebooks is a positive integer, got 'x'"),
    ],
)
def test_a_wrong_file_is_refused(path: str, body: bytes, status: int, words: str, web: httpx.Client) -> None:
    answer = web.post(f"/v1/{path}", content=body)
    assert answer.status_code == status
    assert words in answer.json()["error"]["message"]


def test_a_shape_larger_than_memory_is_refused(web: httpx.Client) -> None:
    huge = npy(np.zeros((8, 3), int)).replace(b"(8, 3)", b"(8, 9" + b"0" * 12 + b")", 1)
    head, rest = huge[:8], huge[10:]
    length = len(huge) - 10 - 8 * 3 * 8
    answer = web.post("/v1/decode", content=head + length.to_bytes(2, "little") + rest)
    assert answer.status_code == 400


def test_long_audio_is_refused_before_it_is_read(web: httpx.Client) -> None:
    file = io.BytesIO()
    soundfile.write(file, np.zeros(8000 * 601, np.int16), 8000, format="FLAC")
    answer = web.post("/v1/encode", content=file.getvalue())
    assert answer.status_code == 413
    assert "at most 600 s of audio, got 601 s" in answer.json()["error"]["message"]


def test_many_channels_of_silence_are_refused_before_they_are_read() -> None:
    file = io.BytesIO()
    soundfile.write(file, np.zeros((192_000, 8), np.int16), 192_000, format="FLAC")
    with pytest.raises(TooLargeError, match="at most 960000 samples in all its channels, got 1536000"):
        audio_in_file(file.getvalue(), 1, 10.0)


def test_an_answer_that_is_not_read_is_given_up(folder: Path) -> None:
    body = npy(np.zeros((8, 2000), np.int64))
    head = f"POST /v1/decode?sample_rate=192000 HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
    with running_gateway(folder, send_s=0.5) as running, socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        host, _, port = running.address.partition(":")
        client.connect((host, int(port)))
        client.sendall(head.encode() + body)
        wait_until(lambda: running.shared.requests.taken == 1)
        wait_until(lambda: running.shared.requests.taken == 0)
        client.settimeout(PATIENCE_S)
        received = sum(map(len, iter(lambda: client.recv(1 << 20), b"")))
    assert received < 2000 * 1024 * 2 * 192_000 // 22_050, "what was left was not sent"


def test_a_request_that_there_is_not_is_refused_in_words(web: httpx.Client) -> None:
    for answer, status in ((web.get("/v1/decode"), 405), (web.get("/v2"), 404)):
        assert answer.status_code == status
        assert "/docs lists the requests" in answer.json()["error"]["message"]


def test_a_format_that_there_is_not_is_refused(web: httpx.Client, tokens: Tokens) -> None:
    answer = web.post("/v1/decode", content=npy(tokens), headers={"Accept": "audio/mpeg"})
    assert answer.status_code == 406
    assert "audio/wav, audio/flac, audio/ogg; the request accepts audio/mpeg" in answer.text


def test_codecs_health_and_figures(web: httpx.Client, gateway: RunningGateway, tokens: Tokens) -> None:
    (codec,) = web.get("/v1/codecs").json()["codecs"]
    assert (codec["name"], codec["codebook_size"], codec["streams"]) == ("nanocodec_mini", 2016, True)
    assert web.get("/health/live").text == "live\n"
    assert web.get("/health/ready").text == "nanocodec_mini\n"

    def figure(name: str) -> float:
        (found,) = re.findall(rf"^tritone_gateway_{name} (\S+)$", web.get("/metrics").text, re.MULTILINE)
        return float(found)

    before = {name: figure(name) for name in ("frames_total", "audio_seconds_total", "sockets_total")}
    with gateway.talk() as talk:
        assert "start" in talk.next()
        live = figure("sockets_live")
        talk.send({"frames": frames_of(tokens), "end": True})
        summary = talk.rest()[1][-1]["summary"]
    assert live >= 1
    assert figure("frames_total") == before["frames_total"] + tokens.shape[1]
    assert figure("sockets_total") == before["sockets_total"] + 1
    assert figure("audio_seconds_total") == pytest.approx(
        before["audio_seconds_total"] + summary["seconds"], abs=1e-4
    )


def test_every_path_of_the_application_is_described(web: httpx.Client) -> None:
    described = set(web.get("/openapi.json").json()["paths"])
    pages = {"/", "/demo.js", "/docs", "/openapi.json", "/v1/stream"}
    paths = {route.path for route in application(Settings()).routes}  # type: ignore[attr-defined]
    assert paths - pages == described
    reference = web.get("/docs").text
    assert "direction" in reference
    assert "/v1/stream" in reference
