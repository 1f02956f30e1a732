"""Requests and answers as Triton's protocol buffers, and its errors by status."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import grpc  # type: ignore[import-untyped]
import numpy as np
from numpy.typing import NDArray
from tritonclient.grpc import service_pb2
from tritonclient.utils import np_to_triton_dtype, triton_to_np_dtype

from tritone_client.addresses import through_proxy
from tritone_client.errors import (
    AccessDeniedError,
    ServerRefusedError,
    ServerSilentError,
    ServerUnavailableError,
    TritoneError,
)

__all__ = [
    "CHANNEL_OPTIONS",
    "Arrays",
    "Place",
    "StatusError",
    "answer_of",
    "request_of",
    "typed",
    "typed_of_known",
]

Arrays: TypeAlias = Mapping[str, NDArray[Any]]

CHANNEL_OPTIONS = [
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", -1),
    # A peer that vanished is found in 15 s. More than two pings without data count as abuse for Triton.
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.http2.max_pings_without_data", 2),
]
_BROKEN = ("INTERNAL", "Internal error from Core")
"""What gRPC's asyncio says of a call whose connection was reset under it."""
_NOT_ALLOWED = ("UNAUTHENTICATED", "PERMISSION_DENIED")
_CONNECTION_LOST = ("UNAVAILABLE", "DEADLINE_EXCEEDED", "CANCELLED")


class StatusError(Exception):
    """An error as it came: the name of its gRPC status, if it had one, and its text.

    Errors of models come over a stream without a status. The header ``triton_grpc_error`` would add it,
    but each such error risks a crash of the whole server (Triton 24.10, signal 11 within a few dozen).
    """

    def __init__(self, status: str | None, message: str):
        super().__init__(f"{message} ({status})" if status else message)
        self.status, self.message = status, message

    @classmethod
    def of(cls, error: grpc.RpcError) -> "StatusError":
        """What gRPC raised."""
        status, message = error.code().name, error.details() or ""
        if (status, message) == _BROKEN:
            return cls("UNAVAILABLE", "the connection broke")
        return cls(status, message)


@dataclass(frozen=True)
class Place:
    """Where in a sequence a request belongs.

    ``timeout_us`` bounds its wait for a free slot; ``resumed``: the stream began at another server, or
    earlier at this one, which servers count.
    """

    sequence_id: int
    start: bool = False
    end: bool = False
    timeout_us: int | None = None
    resumed: bool = False


def request_of(model: str, arrays: Arrays, output: str, place: Place | None = None) -> Any:
    """A request for one output; arrays have the batch axis first."""
    request = service_pb2.ModelInferRequest(model_name=model)
    for name, array in arrays.items():
        request.inputs.add(name=name, datatype=np_to_triton_dtype(array.dtype), shape=array.shape)
        request.raw_input_contents.append(array.tobytes())
    request.outputs.add(name=output)
    if place is not None:
        request.parameters["sequence_id"].int64_param = place.sequence_id
        request.parameters["sequence_start"].bool_param = place.start
        request.parameters["sequence_end"].bool_param = place.end
        if place.timeout_us is not None:
            request.parameters["timeout"].int64_param = place.timeout_us
        if place.resumed:
            request.parameters["tritone_resumed"].bool_param = True
    return request


def answer_of(response: Any) -> NDArray[Any]:
    """The one output that was asked for, read only, without its batch axis.

    Raises:
        ServerRefusedError: the model marked it as refused.
    """
    tensor = response.outputs[0]
    flat: NDArray[Any] = np.frombuffer(response.raw_output_contents[0], triton_to_np_dtype(tensor.datatype))
    answer: NDArray[Any] = flat.reshape(tensor.shape)[0]
    return _unmarked(answer, response.model_name)


def _unmarked(answer: NDArray[Any], model: str) -> NDArray[Any]:
    """The answer, unless it is a mark: engines cannot fail, so they answer NaN or -1 to what they refuse.

    Raises:
        ServerRefusedError: it is.
    """
    first = answer[..., :1]  # a refused answer is marked throughout
    if first.size and bool(np.isnan(first).any() if first.dtype.kind == "f" else (first < 0).any()):
        raise ServerRefusedError(
            f"model {model} refused the request: its tokens are out of range or its audio is not finite"
        )
    return answer


def typed(refusal: StatusError, url: str, timeout_s: float) -> TritoneError:
    """The error for callers, told apart by status."""
    if refusal.status == "DEADLINE_EXCEEDED":
        return ServerSilentError(f"no answer from {url}{through_proxy(url)} within {timeout_s:g} s")
    if refusal.status in _CONNECTION_LOST:
        return ServerUnavailableError(
            f"no Triton server answers at {url}{through_proxy(url)} ({refusal.message}); start one with "
            "'make serve', or give its address"
        )
    if refusal.status in _NOT_ALLOWED:
        return AccessDeniedError(
            f"{url} does not let this client in ({refusal.message}); give a right API key"
        )
    return ServerRefusedError(f"the server at {url} refused: {refusal}")


def typed_of_known(refusal: StatusError, url: str, timeout_s: float) -> TritoneError:
    """The same of a model that was there when its codec was opened: who lacks it now is about to stop."""
    if refusal.status == "NOT_FOUND":
        return ServerUnavailableError(f"the server at {url} no longer has the model ({refusal.message})")
    return typed(refusal, url, timeout_s)
