"""How the pieces of a stream reach the server: in one sequence that it remembers, or one by one."""

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

_FREEING_S = 1.0
"""Longest wait for a server to give back the slot of a stream that failed; its idle limit does it too."""


class StreamSession(Protocol):
    """The three things that happen to a stream."""

    @property
    def tag(self) -> str:
        """What logs on both sides call the stream."""

    def send(self, data: NDArray[Any]) -> SansIO[NDArray[Any]]:
        """The model's answer to a piece; a TritoneError ends the stream."""

    def finish(self) -> SansIO[None]:
        """Tell the server that nothing follows."""

    def drop(self) -> SansIO[None]:
        """Give back all that is held, whatever happened; never raises."""


class StatelessSession:
    """Each piece in a request of its own, to a model without memory."""

    tag = "no stream"

    def __init__(
        self,
        connection: Connection,
        model: str,
        output: str,
        arrays: Callable[[NDArray[Any]], Arrays],
        echoes: bool = False,
    ):
        self._connection, self._model, self._output, self._arrays = connection, model, output, arrays
        self._echoes = echoes

    def send(self, data: NDArray[Any]) -> SansIO[NDArray[Any]]:
        """The answer to one request."""
        request = Request(self._model, self._arrays(data), self._output, echoes=self._echoes)
        try:
            answer = yield lambda: self._connection.ask(request)
        except StatusError as refusal:
            raise typed_of_known(refusal, self._connection.name, self._connection.timeout_s) from refusal
        return refuse_marked(answer[0], self._model)

    def finish(self) -> SansIO[None]:
        """Nothing: the server remembers nothing."""
        yield from ()

    def drop(self) -> SansIO[None]:
        """Hang up."""
        yield self._connection.close


class StatefulSession:
    """All pieces in one sequence of a model that remembers.

    Args:
        connection: of this stream alone.
        model: its name.
        output: what it answers with.
        arrays: inputs for a piece.
        info: what the server says about its streams.
        end_steps: time steps of silence that end the sequence: models that take no empty input need some.
        resumed: it goes on with a stream that was elsewhere before.
    """

    def __init__(
        self,
        connection: Connection,
        model: str,
        output: str,
        arrays: Callable[[NDArray[Any]], Arrays],
        info: StreamInfo,
        end_steps: int = 0,
        resumed: bool = False,
    ):
        self._connection, self._model, self._output, self._arrays = connection, model, output, arrays
        self._end_steps, self._resumed, self._echoes = end_steps, resumed, info.echoes
        self._last: NDArray[Any] | None = None
        self._id = 1 + secrets.randbelow(2**63 - 1)  # a guessed id would let others into the stream
        self.tag = hashlib.sha256(str(self._id).encode()).hexdigest()[:12]
        # A start that waits for a slot beyond the idle limit is answered and its sequence ended at once.
        self._timeout_us = int(500 * min(info.idle_limit_ms, 2000 * connection.timeout_s))
        self._held, self._in_step = False, True

    def send(self, data: NDArray[Any]) -> SansIO[NDArray[Any]]:
        """The answer to the next request of the sequence, which the first one starts."""
        first, self._held = self._last is None, True
        self._last = np.zeros((*data.shape[:-1], self._end_steps), data.dtype)
        request = self._request(data, self._start() if first else Place(self._id))
        try:
            answer = yield from self._exchanged(request)
        except (ServerLostError, RepositoryError):
            self._held = False  # its process is replaced, or it has none: nothing is to be given back
            raise
        except StatusError as refusal:
            if refusal.status is not None:
                raise self._lost(refusal) from refusal
            why = self._why_not_started(data) if first else self._why_not_continued(request)
            raise (yield from why) from refusal
        return refuse_marked(answer[0], self._model)

    def finish(self) -> SansIO[None]:
        """End the sequence; if the server cannot, nothing is lost, since every answer has been heard."""
        if not self._held:
            return
        try:
            yield from self._exchanged(self._ending())
        except (StatusError, ServerLostError):
            return
        self._held = False

    def drop(self) -> SansIO[None]:
        """End the sequence if that is still to do, and hang up."""
        if self._held:
            yield from self._freed()
        yield self._connection.close

    def _request(self, data: NDArray[Any], place: Place) -> Request:
        return Request(self._model, self._arrays(data), self._output, place, self._echoes)

    def _start(self) -> Place:
        return Place(self._id, start=True, timeout_us=self._timeout_us, resumed=self._resumed)

    def _ending(self) -> Request:
        assert self._last is not None, "a request came before"
        return self._request(self._last, Place(self._id, end=True))

    def _exchanged(self, request: Request, timeout_s: float | None = None) -> SansIO[Any]:
        try:
            answer = yield lambda: self._connection.exchange(request, timeout_s)
        except StatusError as refusal:
            self._in_step = refusal.status is None
            raise
        except BaseException:  # the wait was interrupted, and an answer is still to come
            self._in_step = False
            raise
        return answer

    def _asked_again(self, request: Request) -> SansIO[StatusError | None]:
        """Over a stream a refusal is only a text, which is for people; asked beside it, it has a status.

        None where the request is answered now.
        """
        try:
            yield lambda: self._connection.ask(request)
        except StatusError as refusal:
            return refusal
        return None

    def _why_not_started(self, data: NDArray[Any]) -> SansIO[TritoneError]:
        """Asked again, the stream is to end, too: Triton remembers a sequence that the model refused."""
        refusal = yield from self._asked_again(self._request(data, replace(self._start(), end=True)))
        if refusal is not None and (refusal.status != "UNAVAILABLE" or not (yield from self._ready())):
            return typed_of_known(refusal, self._connection.name, self._connection.timeout_s)
        self._held = False
        return ServerFullError(
            f"{self._connection.name} takes no more streams now; wait for one to end, or begin it elsewhere"
        )

    def _why_not_continued(self, request: Request) -> SansIO[TritoneError]:
        """A stream that can still be ended was there: then the request was wrong."""
        refusal, name = (yield from self._asked_again(request)), self._connection.name
        if refusal is None:
            yield from self._freed()
            return ServerLostError(
                f"{name} refused a request of the stream and took it a moment later, so what it "
                "remembers of the stream is in doubt: open another one"
            )
        if refusal.status != "INVALID_ARGUMENT":
            return self._lost(refusal)
        if (yield from self._freed(self._connection.timeout_s)):
            return ServerRefusedError(f"{name} refused: {refusal.message}")
        return StreamLostError(
            f"{name} no longer knows the stream ({refusal.message}); it was idle for too "
            "long, or what ran it was restarted: open another one"
        )

    def _lost(self, refusal: StatusError) -> TritoneError:
        error = typed_of_known(refusal, self._connection.name, self._connection.timeout_s)
        if isinstance(error, ServerLostError):
            self._held = False
        return error

    def _ready(self) -> SansIO[bool]:
        try:
            return bool((yield lambda: self._connection.ready(self._model)))
        except StatusError:
            return False

    def _freed(self, within_s: float = _FREEING_S) -> SansIO[bool]:
        """End the sequence, beside the gRPC stream where that is broken; whether there was one."""
        self._held = False
        request, timeout_s = self._ending(), min(within_s, self._connection.timeout_s)
        try:
            if self._in_step:
                yield from self._exchanged(request, timeout_s)
            else:
                yield lambda: self._connection.ask(request, timeout_s)
        except StatusError:
            return False
        return True
