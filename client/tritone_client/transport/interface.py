"""The interface between a codec and the place where its models run: requests, connections and transports.

Methods return answers, or awaitables of answers in asyncio: :mod:`tritone_client.sansio` runs both.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

from numpy.typing import NDArray

from tritone_client.errors import ServerUnavailableError

__all__ = ["Arrays", "Call", "Connection", "Place", "Request", "StatusError", "Transport"]

Arrays: TypeAlias = Mapping[str, NDArray[Any]]
"""Tensors by name, batch axis first."""
Call: TypeAlias = tuple[str, Arrays]
"""A model's name and its inputs."""


class StatusError(Exception):
    """An error answer: the name of its gRPC status, if it has one, and its text.

    On a gRPC stream, Triton reports a model's error without a status. The header ``triton_grpc_error`` would
    add it, but then each error may crash the whole server (Triton 24.10: signal 11 within a few dozen).
    """

    def __init__(self, status: str | None, message: str):
        super().__init__(f"{message} ({status})" if status else message)
        self.status, self.message = status, message


@dataclass(frozen=True)
class Place:
    """Place of a request in a sequence.

    Args:
        sequence_id: of the sequence.
        start: whether this request starts it.
        end: whether this request ends it.
        timeout_us: longest wait of the request for a free slot.
        resumed: whether the sequence resumes a stream that began at another server, or earlier at this one;
            servers count such streams.
    """

    sequence_id: int
    start: bool = False
    end: bool = False
    timeout_us: int | None = None
    resumed: bool = False


@dataclass(frozen=True)
class Request:
    """One request to a model.

    Args:
        model: name of the model.
        arrays: its inputs.
        output: name of the output to return.
        place: place in a sequence; None for a stateless model.
        echoes: whether the model returns the request's nonce, by which the transport recognizes its answer.
    """

    model: str
    arrays: Arrays
    output: str
    place: Place | None = None
    echoes: bool = False


class Connection(Protocol):
    """Connection of one stream.

    Its methods raise :class:`StatusError`, and ServerLostError if an answer belongs to another request.
    """

    name: str
    """The name in messages: ``the server at host:port``."""
    timeout_s: float

    def exchange(self, request: Request, timeout_s: float | None = None) -> Any:
        """Send a request in order with the stream's other requests; the output [1, ...]."""

    def ask(self, request: Request, timeout_s: float | None = None) -> Any:
        """Send a request outside that order; the output [1, ...]."""

    def ready(self, model: str) -> Any:
        """Whether the model takes requests."""

    def close(self) -> Any:
        """Close the connection."""


class Transport(Protocol):
    """A codec's way to its models. Its methods raise the errors that callers get."""

    url: str
    name: str
    timeout_s: float

    def parameters(self, model: str) -> Any:
        """The ``parameters`` of a loaded model's configuration."""

    def ready(self, model: str) -> Any:
        """Whether the model is loaded."""

    def ready_models(self) -> Any:
        """Names of the loaded models."""

    def results(self, calls: Sequence[Call], output: str, echoes: bool = False) -> Any:
        """One output of each call, in order. With ``echoes``, the models return the requests' nonces."""

    def connection(self, timeout_s: float | None = None) -> Connection:
        """A new connection for a stream, to the same place; ``timeout_s`` is its longest wait."""

    def explained(self, error: ServerUnavailableError) -> Any:
        """The same error, or a more precise one, after a look at what listens on the port."""

    def wait(self, seconds: float) -> Any:
        """Sleep."""
