"""What an attacker could send: refused in words, and the models go on for everybody else."""

from typing import Any
from urllib.error import HTTPError

import grpc  # type: ignore[import-untyped]
import numpy as np
import pytest
from helpers.servers.raw import HANGS_S
from tritonclient.grpc import service_pb2, service_pb2_grpc

from tritone_client import Codec
from tritone_client.transport.interface import Place, Request
from tritone_client.transport.wire import message_of
from tritone_server.direct import channel_to, opened
from tritone_server.launcher import TritonServer

NAME = "small_nanocodec"


@pytest.fixture
def stub(server: TritonServer) -> Any:
    return service_pb2_grpc.GRPCInferenceServiceStub(channel_to(server.url))


def refusal(call: Any, request: Any) -> tuple[str, str]:
    with pytest.raises(grpc.RpcError) as caught:
        call(request, timeout=HANGS_S)
    error: Any = caught.value
    return error.code().name, error.details()


@pytest.mark.parametrize("frames", [2**59 + 1, 2**61, 1 - 2**59, -(2**63)])
def test_a_shape_whose_size_overflows_to_the_bytes_sent_is_refused(
    frames: int, stub: Any, server: TritonServer
) -> None:
    for model, place in ((f"{NAME}_decode", None), (f"{NAME}_decode_stream", Place(7, True, True))):
        length = {} if place else {"tokens_len": np.array([[1]])}
        request = message_of(
            Request(model, {"tokens": np.zeros((1, 4, 1), np.int64), **length}, "audio", place)
        )
        request.inputs[0].shape[:] = [1, 4, frames]
        request.raw_input_contents[0] = bytes(32 * frames % 2**64)
        status, said = refusal(stub.ModelInfer, request)
        assert status == "INVALID_ARGUMENT"
        assert f"tokens has the impossible shape [1, 4, {frames}]" in said
    with Codec(NAME, server.url) as codec, codec.decode_stream() as stream:
        tokens = np.ones((4, 1), np.int64)
        assert np.allclose(codec.decode(tokens), stream.push(tokens), atol=1e-5)


def test_a_request_may_have_so_much_sound_and_no_more(stub: Any, server: TritonServer) -> None:
    with Codec(NAME, server.url) as codec:
        rate_hz = codec.info.frame_rate_hz
    for model, place, most_s in (
        (f"{NAME}_decode", None, 300),
        (f"{NAME}_decode_stream", Place(8, True), 10),
    ):
        frames = int(most_s * rate_hz) + 1
        length = {} if place else {"tokens_len": np.array([[frames]])}
        request = message_of(
            Request(model, {"tokens": np.zeros((1, 4, frames), np.int64), **length}, "audio", place)
        )
        status, said = refusal(stub.ModelInfer, request)
        assert status == "INVALID_ARGUMENT"
        assert f"tokens may have at most {most_s} s of audio in a request" in said


@pytest.mark.parametrize(
    ("method", "request_"),
    [
        ("RepositoryModelUnload", service_pb2.RepositoryModelUnloadRequest(model_name=f"{NAME}_decode")),
        ("RepositoryModelLoad", service_pb2.RepositoryModelLoadRequest(model_name="of_mine")),
        ("SystemSharedMemoryStatus", service_pb2.SystemSharedMemoryStatusRequest()),
        ("TraceSetting", service_pb2.TraceSettingRequest()),
        ("LogSettings", service_pb2.LogSettingsRequest()),
    ],
    ids=str,
)
def test_clients_may_not_change_the_server(method: str, request_: Any, stub: Any) -> None:
    status, said = refusal(getattr(stub, method), request_)
    assert status == "UNAVAILABLE"
    assert "not allowed" in said or "restricted" in said


@pytest.mark.parametrize("path", [f"models/{NAME}_decode/infer", "repository/index", "logging"])
def test_http_answers_for_health_alone(path: str, server: TritonServer) -> None:
    nested = b'{"inputs":[{"name":"tokens","shape":[1,4,1],"datatype":"INT64","data":' + b"[" * 100_000
    with pytest.raises(HTTPError) as caught:
        opened(f"http://127.0.0.1:{server.ports.http}/v2/{path}", HANGS_S, nested)
    assert caught.value.code == 403
    assert server.ready


@pytest.mark.parametrize("books", [0, 33])
def test_a_codec_that_takes_a_choice_of_codebooks_says_which(books: int, stub: Any) -> None:
    tokens = {"tokens": np.zeros((1, books, 3), np.int64)}
    for model, place in (("small_mimi_decode", None), ("small_mimi_decode_stream", Place(9, True, True))):
        length = {} if place else {"tokens_len": np.array([[3]])}
        status, said = refusal(
            stub.ModelInfer, message_of(Request(model, {**tokens, **length}, "audio", place))
        )
        assert status == "INVALID_ARGUMENT"
        assert f"tokens must have 1 to 32 codebooks, got {books}" in said
