"""Requests and answers as Triton's protocol buffers."""

import secrets
from typing import Any

import grpc  # type: ignore[import-untyped]
import numpy as np
from numpy.typing import NDArray
from tritonclient.grpc import service_pb2
from tritonclient.utils import np_to_triton_dtype, triton_to_np_dtype

from tritone_client.errors import ServerLostError
from tritone_client.transport.interface import Place, Request, StatusError

__all__ = ["CHANNEL_OPTIONS", "NONCE", "NONCE_PARAMETER", "message_of", "status_of", "tensor_of"]

CHANNEL_OPTIONS = [
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", -1),
    # A peer that vanished is found in 15 s. More than two pings without data count as abuse for Triton.
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.http2.max_pings_without_data", 2),
]
NONCE, NONCE_PARAMETER = "nonce", "tritone_nonce"
"""The parameter that carries a request's nonce, and the output in which the model returns it. Triton's Python
backend can take the late answer of a process that it gave up for the answer to the next request."""
_NONCES = 2**63 - 1
_BROKEN = ("INTERNAL", "Internal error from Core")
"""What gRPC for asyncio reports if the connection was reset during a call."""


def message_of(request: Request) -> Any:
    """A request as a protobuf message; with a fresh nonce if the model returns it."""
    message = service_pb2.ModelInferRequest(model_name=request.model)
    for name, array in request.arrays.items():
        message.inputs.add(name=name, datatype=np_to_triton_dtype(array.dtype), shape=array.shape)
        message.raw_input_contents.append(array.tobytes())
    message.outputs.add(name=request.output)
    if request.echoes:
        message.outputs.add(name=NONCE)
        message.parameters[NONCE_PARAMETER].int64_param = 1 + secrets.randbelow(_NONCES)
    if request.place is not None:
        _add_place(message, request.place)
    return message


def _add_place(message: Any, place: Place) -> None:
    message.parameters["sequence_id"].int64_param = place.sequence_id
    message.parameters["sequence_start"].bool_param = place.start
    message.parameters["sequence_end"].bool_param = place.end
    if place.timeout_us is not None:
        message.parameters["timeout"].int64_param = place.timeout_us
    if place.resumed:
        message.parameters["tritone_resumed"].bool_param = True


def tensor_of(response: Any, message: Any) -> NDArray[Any]:
    """The first output that the request named, read only, with its batch axis.

    Raises:
        ServerLostError: the response is malformed, or belongs to another request.
    """
    try:
        tensors = {
            each.name: np.frombuffer(raw, triton_to_np_dtype(each.datatype)).reshape(each.shape)
            for each, raw in zip(response.outputs, response.raw_output_contents, strict=True)
        }
        wanted: NDArray[Any] = tensors[message.outputs[0].name]
        if len(wanted) != message.inputs[0].shape[0]:
            raise ValueError(f"{len(wanted)} rows for {message.inputs[0].shape[0]}")
        matches = NONCE_PARAMETER not in message.parameters or set(tensors[NONCE].flat) == {
            message.parameters[NONCE_PARAMETER].int64_param
        }
    except (KeyError, TypeError, ValueError) as error:
        raise ServerLostError(
            f"model {message.model_name} gave a malformed answer ({error!r}); its server is at fault: "
            "ask again, or another server"
        ) from error
    if not matches:
        raise ServerLostError(
            f"model {message.model_name} gave the answer to another request, which was dropped; its server "
            "had given up a process that was silent for too long: ask again, or another server"
        )
    return wanted


def status_of(error: grpc.RpcError) -> StatusError:
    """Status and text of an error that gRPC raised."""
    status, message = error.code().name, error.details() or ""
    if (status, message) == _BROKEN:
        return StatusError("UNAVAILABLE", "the connection broke")
    return StatusError(status, message)
