"""Requests and answers as Triton's protocol buffers, and its errors by status."""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import grpc  # type: ignore[import-untyped]
import numpy as np
from numpy.typing import NDArray
from tritonclient.grpc import service_pb2
from tritonclient.utils import np_to_triton_dtype, triton_to_np_dtype

from tritone_client.errors import (
    AccessDeniedError,
    ServerLostError,
    ServerRefusedError,
    ServerSilentError,
    ServerUnavailableError,
    TritoneError,
)
from tritone_client.transport.addresses import through_proxy

__all__ = [
    "CHANNEL_OPTIONS",
    "NONCE",
    "NONCE_PARAMETER",
    "Arrays",
    "Place",
    "StatusError",
    "answer_of",
    "request_of",
    "tensor_of",
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
NONCE, NONCE_PARAMETER = "nonce", "tritone_nonce"
"""The output with which a model returns the request's parameter, and that parameter. Triton's Python backend
may take the late answer of a process that it gave up for the answer to the next request."""
_NONCES = 2**63 - 1
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


def request_of(
    model: str, arrays: Arrays, output: str, place: Place | None = None, echoes: bool = False
) -> Any:
    """A request for one output.

    Args:
        model: its name.
        arrays: inputs by name, the batch axis first.
        output: name of the output that is wanted.
        place: in a sequence; None for a model without memory.
        echoes: the model returns the request's nonce, by which :func:`tensor_of` knows its answer.
    """
    request = service_pb2.ModelInferRequest(model_name=model)
    for name, array in arrays.items():
        request.inputs.add(name=name, datatype=np_to_triton_dtype(array.dtype), shape=array.shape)
        request.raw_input_contents.append(array.tobytes())
    request.outputs.add(name=output)
    if echoes:
        request.outputs.add(name=NONCE)
        request.parameters[NONCE_PARAMETER].int64_param = 1 + secrets.randbelow(_NONCES)
    if place is not None:
        _add_place(request, place)
    return request


def _add_place(request: Any, place: Place) -> None:
    request.parameters["sequence_id"].int64_param = place.sequence_id
    request.parameters["sequence_start"].bool_param = place.start
    request.parameters["sequence_end"].bool_param = place.end
    if place.timeout_us is not None:
        request.parameters["timeout"].int64_param = place.timeout_us
    if place.resumed:
        request.parameters["tritone_resumed"].bool_param = True


def tensor_of(response: Any, request: Any) -> NDArray[Any]:
    """The output that the request asked for first, read only, with its batch axis.

    Raises:
        ServerLostError: the response is malformed, or answers another request.
    """
    try:
        tensors = {
            each.name: np.frombuffer(raw, triton_to_np_dtype(each.datatype)).reshape(each.shape)
            for each, raw in zip(response.outputs, response.raw_output_contents, strict=True)
        }
        wanted: NDArray[Any] = tensors[request.outputs[0].name]
        if len(wanted) != request.inputs[0].shape[0]:
            raise ValueError(f"{len(wanted)} rows for {request.inputs[0].shape[0]}")
        right = NONCE_PARAMETER not in request.parameters or set(tensors[NONCE].flat) == {
            request.parameters[NONCE_PARAMETER].int64_param
        }
    except (KeyError, TypeError, ValueError) as error:
        raise ServerLostError(
            f"model {request.model_name} gave a malformed answer ({error!r}); its server is at fault: "
            "ask again, or another server"
        ) from error
    if not right:
        raise ServerLostError(
            f"model {request.model_name} gave the answer to another request, which was dropped; its server "
            "had given up a process that was silent for too long: ask again, or another server"
        )
    return wanted


def answer_of(response: Any, request: Any) -> NDArray[Any]:
    """:func:`tensor_of` without the batch axis.

    Raises:
        ServerLostError: as there.
        ServerRefusedError: the model marked the answer as refused.
    """
    answer: NDArray[Any] = tensor_of(response, request)[0]
    return _unmarked(answer, request.model_name)


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
            "'tritone-serve' ('make serve' in a clone), or give its address"
        )
    if refusal.status == "INTERNAL":
        return ServerLostError(
            f"the server at {url} lost the process of a model ({refusal.message}); ask again once it is "
            "replaced, or another server"
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
