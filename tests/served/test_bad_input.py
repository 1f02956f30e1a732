"""Bad raw requests, as any client could send them: each gets a reason, and the next good one succeeds."""

import asyncio
import re
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tritonclient.grpc as triton
from helpers.copies import copied_without_hashes
from helpers.servers.raw import HANGS_S
from numpy.typing import NDArray
from tritonclient.utils import InferenceServerException, np_to_triton_dtype

from scripts.common.small_codecs import SMALL
from tritone_client import (
    AudioError,
    Codec,
    ServerRefusedError,
    ServerUnavailableError,
    TokensError,
    UnknownCodecError,
    served_codecs,
)
from tritone_client.transport.grpc_aio import AsyncTransport
from tritone_client.transport.grpc_transport import Transport
from tritone_server.direct import NO_PROXY
from tritone_server.launcher import Ports, ServerError, TritonServer

NAME = "small_nanocodec"
HOP = SMALL[NAME]["samples_per_frame"]


def sent(server: TritonServer, model: str, **arrays: NDArray[Any]) -> str:
    """Status and message of a raw request that must fail."""
    inputs = []
    for name, array in arrays.items():
        tensor = triton.InferInput(name, array.shape, np_to_triton_dtype(array.dtype))
        tensor.set_data_from_numpy(array)
        inputs.append(tensor)
    client = triton.InferenceServerClient(server.url, channel_args=[NO_PROXY])
    with pytest.raises(InferenceServerException) as caught:
        client.infer(model, inputs)
    client.close()
    return f"{caught.value.status()} {caught.value.message()}"


@pytest.fixture(autouse=True)
def still_good(server: TritonServer) -> Iterator[None]:
    """After each bad request a good one must succeed on the same server."""
    yield
    for name in (NAME, "small_lfsc"):
        with Codec(name, server.url) as codec:
            tokens = codec.encode(np.full(20 * codec.info.samples_per_frame, 0.1), codec.info.sample_rate_hz)
            assert codec.decode(tokens).shape == (20 * codec.info.samples_per_frame,)


def tokens(frames: int = 5, value: int = 0) -> NDArray[np.int64]:
    return np.full((1, 4, frames), value)


def length(value: int) -> NDArray[np.int64]:
    return np.array([[value]])


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"tokens": tokens()[0], "tokens_len": length(5)}, "batch size does not match"),
        ({"tokens": np.zeros((1, 5, 5), np.int64), "tokens_len": length(5)}, r"\[-1,4,-1\]"),
        ({"tokens": tokens().astype(np.float32), "tokens_len": length(5)}, "(?i)int64"),
        ({"tokens": tokens().astype(np.int32), "tokens_len": length(5)}, "(?i)int64"),
        ({"tokens": tokens(0), "tokens_len": length(0)}, "at least 1"),
        ({"tokens": tokens(), "tokens_len": length(0)}, "at least 1"),
        ({"tokens": tokens(), "tokens_len": length(6)}, "at most T"),
        ({"tokens": tokens(value=-1), "tokens_len": length(5)}, r"0\.\.4031"),
        ({"tokens": tokens(value=4032), "tokens_len": length(5)}, r"0\.\.4031"),
        ({"tokens": tokens(value=2**40), "tokens_len": length(5)}, r"0\.\.4031"),
        ({"tokens": tokens()}, "tokens_len|2 inputs"),
    ],
    ids=["rank", "books", "float", "int32", "empty", "len0", "len>T", "-1", "N", "2^40", "missing"],
)
def test_bad_tokens_are_refused_by_the_server(
    arrays: dict[str, NDArray[Any]], message: str, server: TritonServer
) -> None:
    answer = sent(server, f"{NAME}_decode", **arrays)
    assert answer.startswith("StatusCode.INVALID_ARGUMENT"), answer
    assert re.search(message, answer), answer


@pytest.mark.parametrize(
    ("audio", "message"),
    [
        (np.zeros((1, 0), np.float32), "at least"),
        (np.zeros((1, HOP - 1), np.float32), "at least"),
        (np.full((1, 4 * HOP), np.nan, np.float32), "finite"),
        (np.zeros((1, 4 * HOP), np.int16), "FP32"),
        (np.zeros((1, 2, 4 * HOP), np.float32), "shape"),
    ],
    ids=["empty", "short", "nan", "integer", "2-D"],
)
def test_bad_audio_is_refused_by_the_server(audio: NDArray[Any], message: str, server: TritonServer) -> None:
    answer = sent(server, f"{NAME}_encode", audio=audio, audio_len=length(audio.shape[-1]))
    assert answer.startswith("StatusCode.INVALID_ARGUMENT"), answer
    assert message in answer


def test_a_codec_that_looks_ahead_says_what_it_takes(server: TritonServer) -> None:
    books = np.zeros((2, 8, 6), np.int64)
    assert "equal length" in sent(server, "small_lfsc_decode", tokens=books, tokens_len=np.array([[6], [5]]))
    few = sent(server, "small_lfsc_decode", tokens=books[:1, :, :3], tokens_len=length(3))
    assert "at least 4" in few


def test_the_client_refuses_before_it_sends(server: TritonServer) -> None:
    with Codec(NAME, server.url) as codec:
        with pytest.raises(TokensError):
            codec.decode(tokens())
        with pytest.raises(TokensError):
            codec.decode([tokens()[0], tokens(value=4032)[0]])
        with pytest.raises(AudioError):
            codec.encode(np.zeros(HOP - 1), 22050)


def test_what_the_server_refuses_reaches_the_caller_typed(server: TritonServer) -> None:
    raw = Transport(server.url, timeout_s=HANGS_S)
    with pytest.raises(ServerRefusedError, match=r"tokens must be in 0\.\.4031"):
        list(
            raw.results([(f"{NAME}_decode", {"tokens": tokens(value=-1), "tokens_len": length(5)})], "audio")
        )
    raw.close()


def test_a_model_that_is_gone_since_means_that_its_server_stops(server: TritonServer) -> None:
    calls = [("gone_decode", {"tokens": tokens(), "tokens_len": length(5)})] * 2
    with (
        closing(Transport(server.url, timeout_s=HANGS_S)) as raw,
        pytest.raises(ServerUnavailableError, match="gone"),
    ):
        raw.results(calls, "audio")

    async def beside() -> None:
        raw = AsyncTransport(server.url, timeout_s=HANGS_S)
        try:
            await raw.results(calls, "audio")
        finally:
            await raw.close()

    with pytest.raises(ServerUnavailableError, match="gone"):
        asyncio.run(beside())


def test_an_unknown_codec_is_reported_with_those_there_are(server: TritonServer) -> None:
    with pytest.raises(UnknownCodecError, match=r"does not serve codec 'nope'; it serves: small_dac_24khz, "):
        Codec("nope", server.url)


def test_no_server_is_reported_with_how_to_start_one() -> None:
    with pytest.raises(ServerUnavailableError, match="tritone-serve"):
        Codec(NAME, f"127.0.0.1:{Ports.free().grpc}", timeout_s=HANGS_S)


def test_an_answer_that_takes_too_long_is_reported(server: TritonServer) -> None:
    with Codec(NAME, server.url) as codec:
        codec._transports[0].timeout_s = 1e-4
        with pytest.raises(ServerUnavailableError, match="within"):
            codec.decode(tokens(300)[0])


def test_a_server_that_dies_is_reported_at_once(repository: Any) -> None:
    mortal = TritonServer(repository, [NAME], ports=Ports.free()).start()
    with Codec(NAME, mortal.url) as codec:
        mortal.stop()
        with pytest.raises(ServerUnavailableError, match="does not answer"):
            codec.decode(tokens()[0])


def test_mistakes_of_the_operator_are_reported_before_starting(
    server: TritonServer, repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ServerError, match=r"grpc port .* cannot be used"):
        TritonServer(repository, [NAME], ports=Ports(grpc=server.ports.grpc)).start()
    assert len(served_codecs(server.url)) > 1, "what is there goes on to serve all it did"
    with pytest.raises(ServerError, match=r"nope_dequantize/config.pbtxt is missing; build it"):
        TritonServer(repository, ["nope"], ports=Ports.free()).start()
    copied_without_hashes(repository, NAME, tmp_path)
    for role in ("decode_stream", "vocoder"):
        model = tmp_path / f"{NAME}_{role}" / "1" / "model.onnx"
        aside = model.rename(tmp_path / "model.onnx")
        with pytest.raises(ServerError, match=rf"_{role}/1/model.onnx is missing; build it"):
            TritonServer(tmp_path, [NAME], ports=Ports.free()).start()
        aside.rename(model)
    model.write_bytes(b"not a model")
    with pytest.raises(ServerError, match=f"ended while starting: .*{NAME}"):
        TritonServer(tmp_path, [NAME], ports=Ports.free()).start()
    monkeypatch.setattr("sys.version_info", type("Version", (), {"major": 3, "minor": 99})())
    with pytest.raises(ServerError, match=r"Python 3.99, and .* exists for 3.11, 3.12, 3.13; install"):
        TritonServer(repository, [NAME], ports=Ports.free()).start()
