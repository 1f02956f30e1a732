"""The errors that callers get, chosen by the gRPC status of the answer."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tritone_client.errors import (
    AccessDeniedError,
    ServerLostError,
    ServerRefusedError,
    ServerSilentError,
    ServerUnavailableError,
    TritoneError,
)
from tritone_client.transport.interface import StatusError

__all__ = ["refuse_marked", "typed", "typed_of_known"]

_NOT_ALLOWED = ("UNAUTHENTICATED", "PERMISSION_DENIED")
_CONNECTION_LOST = ("UNAVAILABLE", "DEADLINE_EXCEEDED", "CANCELLED")


def typed(refusal: StatusError, name: str, timeout_s: float) -> TritoneError:
    """The error for callers.

    Args:
        refusal: the answer's status and text.
        name: how messages name the server.
        timeout_s: longest wait for an answer.
    """
    if refusal.status == "DEADLINE_EXCEEDED":
        return ServerSilentError(f"no answer from {name} within {timeout_s:g} s")
    if refusal.status in _CONNECTION_LOST:
        return ServerUnavailableError(
            f"{name} does not answer ({refusal.message}); start one with 'tritone-serve', or give its address"
        )
    if refusal.status == "INTERNAL":
        return ServerLostError(
            f"{name} lost the process of a model ({refusal.message}); ask again once it is replaced, or "
            "another server"
        )
    if refusal.status in _NOT_ALLOWED:
        return AccessDeniedError(
            f"{name} does not let this client in ({refusal.message}); give a right API key"
        )
    return ServerRefusedError(f"{name} refused: {refusal}")


def typed_of_known(refusal: StatusError, name: str, timeout_s: float) -> TritoneError:
    """As :func:`typed`, for a model that the server had before: a server without it is about to stop."""
    if refusal.status == "NOT_FOUND":
        return ServerUnavailableError(f"{name} no longer has the model ({refusal.message})")
    return typed(refusal, name, timeout_s)


def refuse_marked(answer: NDArray[Any], model: str) -> NDArray[Any]:
    """The answer, unless it marks a refused request: an engine cannot fail, so it answers with NaN or -1.

    Raises:
        ServerRefusedError: the answer is such a mark.
    """
    first = answer[..., :1]  # a mark fills the whole answer
    if first.dtype == np.int16:  # audio, of a backend that answers with an error instead
        return answer
    if first.size and bool(np.isnan(first).any() if first.dtype.kind == "f" else (first < 0).any()):
        raise ServerRefusedError(
            f"model {model} refused the request: its tokens are out of range or its audio is not finite"
        )
    return answer
