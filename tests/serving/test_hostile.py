"""What an attacker could send: refused in words, and the models go on for everybody else."""

from typing import Any

import grpc  # type: ignore[import-untyped]
import numpy as np
import pytest
from tritonclient.grpc import service_pb2_grpc

from tritone_client import Codec
from tritone_client.wire import Place, request_of
from tritonserver import TritonServer

NAME = "small_nanocodec"


@pytest.fixture
def stub(server: TritonServer) -> Any:
    return service_pb2_grpc.GRPCInferenceServiceStub(grpc.insecure_channel(server.url))


def refusal(call: Any, request: Any) -> tuple[str, str]:
    with pytest.raises(grpc.RpcError) as caught:
        call(request, timeout=10)
    error: Any = caught.value
    return error.code().name, error.details()


@pytest.mark.parametrize("frames", [2**58 + 1, 2**61, 1 - 2**58, -(2**63)])
def test_a_shape_whose_size_overflows_to_the_bytes_sent_is_refused(
    frames: int, stub: Any, server: TritonServer
) -> None:
    for model, place in ((f"{NAME}_decode", None), (f"{NAME}_decode_stream", Place(7, True, True))):
        length = {} if place else {"tokens_len": np.array([[1]])}
        request = request_of(model, {"tokens": np.zeros((1, 4, 1), np.int64), **length}, "audio", place)
        request.inputs[0].shape[:] = [1, 4, frames]
        request.raw_input_contents[0] = bytes(32 * frames % 2**64)
        status, said = refusal(stub.ModelInfer, request)
        assert status == "INVALID_ARGUMENT"
        assert f"no array has the shape [1, 4, {frames}], which tokens claims" in said
    with Codec(NAME, server.url) as codec, codec.decode_stream() as stream:
        tokens = np.ones((4, 1), np.int64)
        assert np.allclose(codec.decode(tokens), stream.push(tokens), atol=1e-5)
