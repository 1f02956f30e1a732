"""A live stream as callers hold it: opened at its first use, for one call at a time."""

import os
from collections.abc import Callable
from threading import Lock
from typing import Any, TypeVar

from numpy.typing import NDArray

from tritone_client.errors import CodecNotOpenError, StreamBusyError, StreamClosedError
from tritone_client.sansio import SansIO
from tritone_client.streams.live import LiveStream

__all__ = ["OneAtATime", "StreamHandle"]

T = TypeVar("T")


class OneAtATime:
    """Refuses a call at once while another is under way, in whichever thread or task.

    Waiting in line instead would give each caller audio without saying whose turn came first.
    """

    def __init__(self) -> None:
        self._turn, self._doing = Lock(), ""

    def enter(self, doing: str) -> None:
        """Begin a call; StreamBusyError names the one that is under way."""
        if not self._turn.acquire(blocking=False):
            raise StreamBusyError(
                f"{self._doing} is under way on this stream, which takes one call at a time: "
                "wait for that one, or open a stream for each utterance"
            )
        self._doing = doing

    def leave(self) -> None:
        """The call has ended."""
        self._turn.release()


class StreamHandle:
    """A stream that ``opening`` opens, again if it failed."""

    def __init__(self, opening: Callable[[], SansIO[LiveStream]]):
        self._opening, self._turns = opening, OneAtATime()
        self._process = os.getpid()
        self._live: LiveStream | None = None
        self._left = False

    def open(self) -> SansIO[LiveStream]:
        """The stream itself."""
        return (yield from self._alone("the opening", _itself))

    def push(self, data: Any) -> SansIO[NDArray[Any]]:
        """What comes out for ``data``; may be empty."""
        return (yield from self._alone("a push", lambda live: live.push(data)))

    def close(self) -> SansIO[NDArray[Any]]:
        """What is left."""
        return (yield from self._alone("a close", lambda live: live.close()))

    def leave(self, failed: bool) -> SansIO[None]:
        """End of the block that holds the stream.

        Raises:
            StreamBusyError: a call is under way; the stream ends with that call, and what is left is lost.
        """
        if not failed:
            try:
                yield from self.close()
            except StreamBusyError:
                yield from self._abandoned()
                raise
        yield from self._abandoned()

    def _alone(self, doing: str, call: Callable[[LiveStream], SansIO[T]]) -> SansIO[T]:
        if os.getpid() != self._process:
            raise CodecNotOpenError("the stream was opened in another process; open a codec here")
        self._turns.enter(doing)
        try:
            return (yield from call((yield from self._opened())))
        finally:
            self._turns.leave()
            if self._left:
                yield from self._abandoned()

    def _opened(self) -> SansIO[LiveStream]:
        if self._left and self._live is None:
            raise StreamClosedError("the stream is closed; open another one")
        if self._live is None:
            self._live = yield from self._opening()
        return self._live

    def _abandoned(self) -> SansIO[None]:
        """End the stream without asking for what is left; at once, or after the call that is under way."""
        self._left = True
        try:
            self._turns.enter("its end")
        except StreamBusyError:
            return
        try:
            if self._live is not None:
                yield from self._live.drop()
        finally:
            self._turns.leave()


def _itself(live: LiveStream) -> SansIO[LiveStream]:
    yield from ()
    return live
