"""Sessions: how the pieces of a stream reach a model, in one sequence or in independent requests."""

import hashlib
import secrets
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from tritone_client.errors import (
    RepositoryError,
    ServerFullError,
    ServerLostError,
    ServerRefusedError,
    StreamLostError,
    TritoneError,
)
from tritone_client.info import StreamInfo
from tritone_client.sansio import SansIO
from tritone_client.transport.interface import Arrays, Connection, Place, Request, StatusError
from tritone_client.transport.statuses import refuse_marked, typed_of_known

__all__ = ["StatefulSession", "StatelessSession", "StreamSession"]

_END_S = 1.0
"""Longest wait for the end of a failed sequence. If it does not come, the idle limit ends the sequence."""


class StreamSession(Protocol):
    """One stream at one model."""

    @property
    def tag(self) -> str:
        """Name of the stream in the logs of client and server."""

    def send(self, data: NDArray[Any]) -> SansIO[NDArray[Any]]:
        """The model's answer to a piece. A TritoneError ends the stream."""

    def finish(self) -> SansIO[None]:
        """End the stream in order."""

    def drop(self) -> SansIO[None]:
        """Free what the stream holds, after any error; never raises."""


class _Session:
    """Requests of one stream to one model.

    Args:
        connection: used by this stream only.
        model: name of the model.
        output: name of its output.
        inputs_of: makes the model's inputs from a piece.
        echoes: whether the model returns each request's nonce.
    """

    def __init__(
        self,
        connection: Connection,
        model: str,
        output: str,
        inputs_of: Callable[[NDArray[Any]], Arrays],
        echoes: bool = False,
    ):
        self._connection, self._model, self._output = connection, model, output
        self._inputs_of, self._echoes = inputs_of, echoes

    def _request(self, data: NDArray[Any], place: Place | None = None) -> Request:
        return Request(self._model, self._inputs_of(data), self._output, place, self._echoes)

    def _error_of(self, status: StatusError) -> TritoneError:
        return typed_of_known(status, self._connection.name, self._connection.timeout_s)


class StatelessSession(_Session):
    """Sends each piece as an independent request to a stateless model; arguments as of the base class."""

    tag = "no stream"

    def send(self, data: NDArray[Any]) -> SansIO[NDArray[Any]]:
        """The answer to one request."""
        request = self._request(data)
        try:
            answer = yield lambda: self._connection.ask(request)
        except StatusError as status:
            raise self._error_of(status) from status
        return refuse_marked(answer[0], self._model)

    def finish(self) -> SansIO[None]:
        """Do nothing: the model keeps no state."""
        yield from ()

    def drop(self) -> SansIO[None]:
        """Close the connection."""
        yield self._connection.close


class StatefulSession(_Session):
    """Sends all pieces as one sequence to a stateful model.

    Args:
        connection: used by this stream only.
        model: name of the model.
        output: name of its output.
        inputs_of: makes the model's inputs from a piece.
        info: limits of the model's streams.
        end_steps: zeros, in time steps, of the request that ends the sequence; more than 0 for models that
            take no empty input.
        resumed: the sequence resumes a stream of another session.
    """

    def __init__(
        self,
        connection: Connection,
        model: str,
        output: str,
        inputs_of: Callable[[NDArray[Any]], Arrays],
        info: StreamInfo,
        end_steps: int = 0,
        resumed: bool = False,
    ):
        super().__init__(connection, model, output, inputs_of, info.echoes)
        self._end_steps, self._resumed = end_steps, resumed
        self._end_data: NDArray[Any] | None = None
        self._id = 1 + secrets.randbelow(2**63 - 1)  # a guessed id would let others into the stream
        self.tag = hashlib.sha256(str(self._id).encode()).hexdigest()[:12]
        # A start that waits for a slot longer than the idle limit is answered, and its sequence ends at once.
        self._timeout_us = int(500 * min(info.idle_limit_ms, 2000 * connection.timeout_s))
        self._live, self._in_order = False, True

    def send(self, data: NDArray[Any]) -> SansIO[NDArray[Any]]:
        """The answer to the next request of the sequence; the first request starts it."""
        first, self._live = self._end_data is None, True
        self._end_data = np.zeros((*data.shape[:-1], self._end_steps), data.dtype)
        request = self._request(data, self._start() if first else Place(self._id))
        try:
            answer = yield from self._exchange(request)
        except (ServerLostError, RepositoryError):
            self._live = False  # its process is replaced, or there is none: no state is left to free
            raise
        except StatusError as status:
            if status.status is not None:
                raise self._lost(status) from status
            error = self._start_error(data) if first else self._step_error(request)
            raise (yield from error) from status
        return refuse_marked(answer[0], self._model)

    def finish(self) -> SansIO[None]:
        """End the sequence. An error is ignored: the client has received all answers."""
        if not self._live:
            return
        try:
            yield from self._exchange(self._end_request())
        except (StatusError, ServerLostError):
            return
        self._live = False

    def drop(self) -> SansIO[None]:
        """End the sequence if it is live, and close the connection."""
        if self._live:
            yield from self._end_sequence()
        yield self._connection.close

    def _start(self) -> Place:
        return Place(self._id, start=True, timeout_us=self._timeout_us, resumed=self._resumed)

    def _end_request(self) -> Request:
        assert self._end_data is not None, "a request was sent before"
        return self._request(self._end_data, Place(self._id, end=True))

    def _exchange(self, request: Request, timeout_s: float | None = None) -> SansIO[Any]:
        try:
            answer = yield lambda: self._connection.exchange(request, timeout_s)
        except StatusError as status:
            self._in_order = status.status is None
            raise
        except BaseException:  # the wait was interrupted; an answer is still to come
            self._in_order = False
            raise
        return answer

    def _status_of_repeat(self, request: Request) -> SansIO[StatusError | None]:
        """Repeat a refused request outside the gRPC stream, where an error has a status; None if it succeeds.

        On the gRPC stream an error is only a text for people.
        """
        try:
            yield lambda: self._connection.ask(request)
        except StatusError as status:
            return status
        return None

    def _start_error(self, data: NDArray[Any]) -> SansIO[TritoneError]:
        """Why the first request was refused. The repeat also ends the sequence: Triton keeps refused ones."""
        status = yield from self._status_of_repeat(self._request(data, replace(self._start(), end=True)))
        if status is not None and (status.status != "UNAVAILABLE" or not (yield from self._ready())):
            return self._error_of(status)
        self._live = False
        return ServerFullError(
            f"{self._connection.name} takes no more streams now; wait for one to end, or begin it elsewhere"
        )

    def _step_error(self, request: Request) -> SansIO[TritoneError]:
        """Why a later request was refused. If the sequence can still be ended, the request was wrong."""
        status, name = (yield from self._status_of_repeat(request)), self._connection.name
        if status is None:
            yield from self._end_sequence()
            return ServerLostError(
                f"{name} refused a request of the stream and took it a moment later, so what it "
                "remembers of the stream is in doubt: open another one"
            )
        if status.status != "INVALID_ARGUMENT":
            return self._lost(status)
        if (yield from self._end_sequence(self._connection.timeout_s)):
            return ServerRefusedError(f"{name} refused: {status.message}")
        return StreamLostError(
            f"{name} no longer knows the stream ({status.message}); it was idle for too "
            "long, or what ran it was restarted: open another one"
        )

    def _lost(self, status: StatusError) -> TritoneError:
        error = self._error_of(status)
        if isinstance(error, ServerLostError):
            self._live = False
        return error

    def _ready(self) -> SansIO[bool]:
        try:
            return bool((yield lambda: self._connection.ready(self._model)))
        except StatusError:
            return False

    def _end_sequence(self, within_s: float = _END_S) -> SansIO[bool]:
        """End the sequence, outside the gRPC stream if that is broken; False if there was none."""
        self._live = False
        request, timeout_s = self._end_request(), min(within_s, self._connection.timeout_s)
        try:
            if self._in_order:
                yield from self._exchange(request, timeout_s)
            else:
                yield lambda: self._connection.ask(request, timeout_s)
        except StatusError:
            return False
        return True
