"""Bad input is refused in words, while another stream of the same gateway goes on exactly."""

import socket
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest
from helpers.servers.gateways import PATIENCE_S, RunningGateway, Talk, running_gateway
from numpy.typing import NDArray
from websockets.exceptions import ConnectionClosed

from tritone_client import Codec

Tokens = NDArray[np.int64]
KEY, OTHER = "correct-horse-battery", "another-key-of-length"


class Steady:
    """A stream of speech that is sent a frame before and after each test's mistake."""

    def __init__(self, talk: Talk, tokens: Tokens):
        self._talk, self._tokens, self.frames, self.sound = talk, tokens, 0, b""
        assert "start" in talk.next()

    def step(self) -> None:
        self._talk.send({"frames": self.sent(self.frames, self.frames + 1).T.tolist()})
        self.sound += self._talk.next()
        self.frames += 1

    def sent(self, start: int, stop: int) -> Tokens:
        return self._tokens[:, np.arange(start, stop) % self._tokens.shape[1]]

    def end(self) -> None:
        self._talk.send({"end": True})
        assert [list(each) for each in self._talk.rest()[1]] == [["summary"]]


@pytest.fixture(scope="module")
def steady(gateway: RunningGateway, mini: Codec, tokens: Tokens) -> Iterator[Steady]:
    with gateway.talk("format=float32") as talk:
        stream = Steady(talk, tokens)
        yield stream
        stream.end()
    whole = mini.decode(stream.sent(0, stream.frames))
    assert np.allclose(np.frombuffer(stream.sound, "<f4"), whole, atol=1e-4)


@pytest.fixture(autouse=True)
def undisturbed(steady: Steady) -> Iterator[None]:
    steady.step()
    yield
    steady.step()


@pytest.mark.parametrize(
    ("query", "kind", "words"),
    [
        ("sample_rate=12", "AudioFormatError", "4000..192000 Hz"),
        ("sample_rate=fast", "ParameterError", "sample_rate is a positive integer, got 'fast'"),
        ("format=mp3", "AudioFormatError", "format is one of pcm16, float32, mulaw, alaw, opus to decode"),
        ("direction=encode&format=opus", "AudioFormatError", "pcm16, float32, mulaw, alaw to encode"),
        ("direction=sideways", "ParameterError", "direction is one of decode, encode"),
        ("codec=none", "UnknownCodecError", "it serves: nanocodec_mini"),
        ("codec=../nanocodec_mini", "UnknownCodecError", "it serves: nanocodec_mini"),
        ("sample_rate=1&format=opus", "AudioFormatError", "got 1 Hz"),
        ("direction=encode&sample_rate=999999999", "AudioFormatError", "4000..192000 Hz, got 999999999 Hz"),
        ("first=8&then=1", "ChunkPlanError", "exchange them"),
        ("then=999999999", "ChunkPlanError", "a chunk has at most 215 frames here"),
        ("direction=encode&first=1", "ParameterError", "leave them out to encode"),
        ("tokens=float", "ParameterError", "tokens is one of int16, int32, json"),
        ("rate=8000", "ParameterError", "there is no parameter 'rate'; there is codec, direction, format"),
        ("key=secret", "KeyRefusedError", "Authorization: Bearer KEY"),
    ],
)
def test_a_wrong_address_is_refused(query: str, kind: str, words: str, gateway: RunningGateway) -> None:
    with gateway.talk(query) as talk:
        found, message, code = talk.refusal()
    assert (found, code) == (kind, 1008)
    assert words in message


@pytest.mark.parametrize("query", ["codebooks=3", "direction=encode&codebooks=9"])
def test_a_number_of_codebooks_that_there_is_not_is_refused(query: str, gateway: RunningGateway) -> None:
    with gateway.talk(query) as talk:
        found, message, code = talk.refusal()
    assert (found, code) == ("TokensError", 1007)
    assert "nanocodec_mini encodes into 8 codebooks" in message


@pytest.mark.parametrize(
    ("query", "message", "kind", "code", "words"),
    [
        ("", {"frames": [[1, 2, 3]]}, "TokensError", 1007, "has 8 tokens, frame 0 has 3"),
        ("", {"frames": [[1] * 8, [1] * 9]}, "TokensError", 1007, "has 8 tokens, frame 1 has 9"),
        ("", {"frames": [[2016] * 8]}, "TokensError", 1007, "are 0..2015, got 2016 in codebook 0, frame 0"),
        ("", {"frames": [[2**70] * 8]}, "TokensError", 1007, "are 0..2015"),
        ("", {"frames": [[0.5] * 8]}, "TokensError", 1007, "frame 0 is not a list of integers"),
        ("", {"frames": "hello"}, "TokensError", 1007, "a list of lists of 8 integers, got hello"),
        ("", "hello", "MessageError", 1003, "the message is no JSON"),
        ("", "[" * 100_000, "MessageError", 1003, "the message is no JSON"),
        ("", "7", "MessageError", 1003, "the message is 7; there is"),
        ("", {"audio": []}, "MessageError", 1003, "the message has 'audio'; there is"),
        ("", {"end": 1}, "MessageError", 1003, "end is true, got 1"),
        ("", {"frames": "\ud800"}, "TokensError", 1007, "a list of lists of 8 integers"),
        ("", b"\0" * 16, "MessageError", 1003, "binary tokens need ?tokens=int16"),
        ("tokens=int16", b"\0" * 17, "TokensError", 1007, "8 tokens of 2 bytes, got a message of 17 bytes"),
        ("direction=encode", "hello", "MessageError", 1003, "the message is no JSON"),
        ("direction=encode", {"end": 1}, "MessageError", 1003, "audio is sent in binary messages"),
        ("direction=encode", {"frames": []}, "MessageError", 1003, "audio is sent in binary messages"),
        ("direction=encode", b"\0" * 3, "AudioError", 1007, "a multiple of 2 bytes, got 3"),
        ("direction=encode&format=float32", b"\xff" * 4096, "AudioError", 1007, "audio must be finite"),
    ],
)
def test_a_wrong_message_is_refused(
    query: str, message: object, kind: str, code: int, words: str, gateway: RunningGateway
) -> None:
    with gateway.talk(query) as talk:
        talk.send(message)
        found = talk.refusal()
    assert (found[0], found[2]) == (kind, code)
    assert words in found[1]


def test_a_prefix_that_comes_late_is_refused(gateway: RunningGateway) -> None:
    with gateway.talk() as talk:
        talk.send({"frames": [[0] * 8]})
        talk.send({"prefix": [[0] * 8]})
        assert talk.refusal()[0] == "MessageError"


def test_a_message_that_is_too_long_is_refused(folder: Path) -> None:
    with running_gateway(folder, message_bytes=1000) as strict, strict.talk() as talk:
        assert "start" in talk.next()
        talk.send("x" * 1001)
        with pytest.raises(ConnectionClosed) as closed:
            talk.next()
    assert closed.value.rcvd is not None
    assert (closed.value.rcvd.code, "1001" in closed.value.rcvd.reason) == (1009, True)


def test_a_body_that_is_too_long_is_refused_before_it_is_read(gateway: RunningGateway) -> None:
    host, _, port = gateway.address.partition(":")
    head = (
        "POST /v1/decode HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 100000000"
    )
    with socket.create_connection((host, int(port)), PATIENCE_S) as connection:
        connection.sendall(f"{head}\r\n\r\n".encode())  # and nothing of the body
        answer = b""
        while part := connection.recv(65536):
            answer += part
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b"a body has at most 32000000 bytes, got 100000000 bytes" in answer


def test_a_body_without_a_length_is_refused_when_it_is_too_long(folder: Path) -> None:
    with running_gateway(folder, body_bytes=1000) as small:
        parts = iter([b"x" * 600] * 2)
        answer = httpx.post(f"http://{small.address}/v1/encode", content=parts, timeout=PATIENCE_S)
    assert (answer.status_code, answer.json()["error"]["type"]) == (413, "TooLargeError")


def test_a_body_that_does_not_come_is_given_up(folder: Path) -> None:
    with running_gateway(folder, idle_s=0.1) as impatient:
        host, _, port = impatient.address.partition(":")
        with socket.create_connection((host, int(port)), PATIENCE_S) as connection:
            connection.sendall(b"POST /v1/encode HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nhalf")
            assert connection.recv(65536).startswith(b"HTTP/1.1 408 ")


def test_json_that_is_slow_to_parse_is_refused(gateway: RunningGateway) -> None:
    answer = httpx.post(
        f"http://{gateway.address}/v1/decode", content=b"[" + b"1," * 2_500_000, timeout=PATIENCE_S
    )
    assert (answer.status_code, answer.json()["error"]["type"]) == (413, "TooLargeError")
    assert "send .npy" in answer.json()["error"]["message"]


@pytest.fixture(scope="module")
def locked(folder: Path) -> Iterator[RunningGateway]:
    with running_gateway(folder, keys=(KEY, OTHER), sockets_per_key=1) as running:
        yield running


@pytest.mark.parametrize(("key", "words"), [(None, "an API key is missing"), ("wrong-key", "key is wrong")])
def test_a_missing_or_wrong_key_is_refused(key: str | None, words: str, locked: RunningGateway) -> None:
    with locked.talk(key=key) as talk:
        kind, message, code = talk.refusal()
    assert (kind, code) == ("KeyRefusedError", 1008)
    assert words in message
    headers = {} if key is None else {"Authorization": f"Bearer {key}"}
    for path in ("v1/codecs", "v1/decode", "v1/encode"):
        method = "GET" if path == "v1/codecs" else "POST"
        url = f"http://{locked.address}/{path}"
        answer = httpx.request(method, url, headers=headers, timeout=PATIENCE_S)
        assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
        assert words in answer.json()["error"]["message"]


def test_a_key_opens_as_many_sockets_as_it_may(locked: RunningGateway) -> None:
    header = {"Authorization": f"Bearer {OTHER}"}
    with locked.talk(key=KEY) as talk, locked.talk(additional_headers=header) as other:
        assert "start" in talk.next()
        assert "start" in other.next()
        assert talk.socket.subprotocol == "tritone"
        with locked.talk(key=KEY) as second:
            kind, message, code = second.refusal()
    assert (kind, code) == ("LimitError", 1013)
    assert "this API key has its maximum of 1 live sockets" in message
