"""A gRPC server with the part of Triton's protocol that our client uses, whose answers a test sets.

With it, a test can provoke the wrong answers that a real server gives only now and then.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, TypeAlias

import grpc  # type: ignore[import-untyped]
import numpy as np
from tritonclient.grpc import service_pb2, service_pb2_grpc

CODEC, HOP, BOOKS = "lied", 4, 2
Answer: TypeAlias = Callable[[Any], Any]
"""A function from request to response; it raises :class:`Refusal` to refuse the request."""

_PARAMETERS = {
    "sample_rate": "8000",
    "samples_per_frame": str(HOP),
    "num_codebooks": str(BOOKS),
    "codebook_size": "16",
    "min_frames": "1",
    "min_samples": "1",
    "lookaround_frames": "0",
    "causal": "true",
    "max_streams": "8",
    "state_bytes": "1",
    "idle_limit_ms": "5000",
    "replay_frames": "3",
    "echoes": "true",
}


class Refusal(Exception):  # noqa: N818
    """The gRPC status and message with which a request is refused."""

    def __init__(self, status: grpc.StatusCode, text: str):
        super().__init__(text)
        self.status, self.text = status, text


def right(request: Any) -> Any:
    """The right answer: each token of the first codebook repeated HOP times, and the nonce."""
    tensor = request.inputs[0]
    dtype = np.int64 if tensor.datatype == "INT64" else np.float32
    data = np.frombuffer(request.raw_input_contents[0], dtype).reshape(tensor.shape)
    sound = np.repeat(data[:, 0], HOP, axis=-1).astype(np.float32)
    nonce = request.parameters["tritone_nonce"].int64_param
    return response(request.model_name, audio=sound, nonce=np.array([[nonce]]))


def response(model: str, **arrays: np.ndarray[Any, Any]) -> Any:
    """A response with these outputs."""
    made = service_pb2.ModelInferResponse(model_name=model)
    for name, array in arrays.items():
        datatype = "FP32" if array.dtype == np.float32 else "INT64"
        made.outputs.add(name=name, datatype=datatype, shape=array.shape)
        made.raw_output_contents.append(array.tobytes())
    return made


class LyingServer(service_pb2_grpc.GRPCInferenceServiceServicer):  # type: ignore[misc]
    """Answers right until ``answer`` is set to another function; ``asked`` counts the requests."""

    def __init__(self) -> None:
        self.url, self.asked = "", 0
        self.answer: Answer = right

    def ModelConfig(self, request: Any, _: Any) -> Any:  # noqa: N802
        answer = service_pb2.ModelConfigResponse()
        for key, value in _PARAMETERS.items():
            answer.config.parameters[key].string_value = value
        return answer

    def ModelReady(self, request: Any, _: Any) -> Any:  # noqa: N802
        return service_pb2.ModelReadyResponse(ready=True)

    def ModelInfer(self, request: Any, context: Any) -> Any:  # noqa: N802
        self.asked += 1
        try:
            return self.answer(request)
        except Refusal as refusal:
            context.abort(refusal.status, refusal.text)

    def ModelStreamInfer(self, requests: Iterator[Any], _: Any) -> Iterator[Any]:  # noqa: N802
        for request in requests:
            self.asked += 1
            try:
                yield service_pb2.ModelStreamInferResponse(infer_response=self.answer(request))
            except Refusal as refusal:  # Triton gives no status within a stream
                yield service_pb2.ModelStreamInferResponse(error_message=refusal.text)


@contextmanager
def lying_server() -> Iterator[LyingServer]:
    """Run a server on a free port of loopback."""
    servicer, server = LyingServer(), grpc.server(ThreadPoolExecutor(8))
    service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(servicer, server)
    servicer.url = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    try:
        yield servicer
    finally:
        server.stop(None).wait()
