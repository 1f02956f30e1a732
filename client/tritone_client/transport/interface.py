"""Between a codec and what runs its models: requests, and the two protocols that every transport has.

Answers, or awaitables of them: :mod:`tritone_client.sansio` says how one codec serves threads and asyncio.
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
"""A model and its inputs."""


class StatusError(Exception):
    """An error as it came: the name of its gRPC status, if it had one, and its text.

    Errors of models come over a stream without a status. The header ``triton_grpc_error`` would add it,
    but each such error risks a crash of the whole server (Triton 24.10, signal 11 within a few dozen).
    """

    def __init__(self, status: str | None, message: str):
        super().__init__(f"{message} ({status})" if status else message)
        self.status, self.message = status, message


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


@dataclass(frozen=True)
class Request:
    """One request to a model.

    Args:
        model: its name.
        arrays: its inputs.
        output: name of the output that is wanted.
        place: in a sequence; None for a model without memory.
        echoes: the model returns the request's nonce, by which the transport knows its answer.
    """

    model: str
    arrays: Arrays
    output: str
    place: Place | None = None
    echoes: bool = False


class Connection(Protocol):
    """Of one stream. Its methods raise :class:`StatusError`, and ServerLostError for a wrong answer."""

    name: str
    """In messages: ``the server at host:port``."""
    timeout_s: float

    def exchange(self, request: Request, timeout_s: float | None = None) -> Any:
        """The output [1, ...], asked for in order with the stream's other requests."""

    def ask(self, request: Request, timeout_s: float | None = None) -> Any:
        """The output [1, ...], asked for beside them."""

    def ready(self, model: str) -> Any:
        """Whether requests for the model are taken."""

    def close(self) -> Any:
        """Hang up."""


class Transport(Protocol):
    """Of a codec. Its methods raise the errors that callers get."""

    url: str
    name: str
    timeout_s: float

    def parameters(self, model: str) -> Any:
        """Of a loaded model's configuration."""

    def ready(self, model: str) -> Any:
        """Whether the model is loaded."""

    def ready_models(self) -> Any:
        """Names of those that are."""

    def results(self, calls: Sequence[Call], output: str, echoes: bool = False) -> Any:
        """One output of each call, in order; models that ``echoes`` return the request's nonce."""

    def connection(self, timeout_s: float | None = None) -> Connection:
        """Another connection to the same server, for a stream, with a longest wait of its own."""

    def explained(self, error: ServerUnavailableError) -> Any:
        """That error, or a more telling one after a look at what listens there."""

    def wait(self, seconds: float) -> Any:
        """Sleep."""
