"""A live stream as its caller holds it: opened at the first use, one call at a time."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Lock
from typing import Any, TypeVar

from numpy.typing import NDArray

from tritone_client.errors import CodecNotOpenError, StreamBusyError, StreamClosedError
from tritone_client.sansio import SansIO
from tritone_client.streams.live import LiveStream

__all__ = ["OneAtATime", "StreamHandle"]

T = TypeVar("T")


class OneAtATime:
    """Refuses a call at once while another call is under way, in any thread or task.

    If calls waited for each other instead, no caller could know in which order their audio belongs.
    """

    def __init__(self) -> None:
        self._lock, self._current = Lock(), ""

    def enter(self, call: str) -> None:
        """Begin a call; StreamBusyError names the call that is under way."""
        if not self._lock.acquire(blocking=False):
            raise StreamBusyError(
                f"{self._current} is under way on this stream, which takes one call at a time: "
                "wait for that call, or open a stream for each utterance"
            )
        self._current = call

    def leave(self) -> None:
        """End the call."""
        self._lock.release()

    @contextmanager
    def during(self, call: str) -> Iterator[None]:
        """:meth:`enter` and :meth:`leave` around a block."""
        self.enter(call)
        try:
            yield
        finally:
            self.leave()


class StreamHandle:
    """A stream that ``open_stream`` opens at the first use; if opening fails, the next use tries again."""

    def __init__(self, open_stream: Callable[[], SansIO[LiveStream]]):
        self._open_stream, self._one_at_a_time = open_stream, OneAtATime()
        self._process = os.getpid()
        self._live: LiveStream | None = None
        self._abandoned = False

    @property
    def live(self) -> LiveStream:
        """The stream; CodecNotOpenError before it was opened."""
        if self._live is None:
            raise CodecNotOpenError("the stream is not open yet: use 'async with', or push something first")
        return self._live

    def open(self) -> SansIO[LiveStream]:
        """Open the stream, unless it is open already."""
        return (yield from self._exclusively("the opening", _unchanged))

    def push(self, data: Any) -> SansIO[NDArray[Any]]:
        """The output that is ready after ``data``; may be empty."""
        return (yield from self._exclusively("a push", lambda live: live.push(data)))

    def close(self) -> SansIO[NDArray[Any]]:
        """End the stream; the rest of its output."""
        return (yield from self._exclusively("a close", lambda live: live.close()))

    def leave(self, failed: bool) -> SansIO[None]:
        """End the stream, because the caller leaves its ``with`` block.

        Raises:
            StreamBusyError: a call is under way; the stream ends after it, and its last output is lost.
        """
        if not failed:
            try:
                yield from self.close()
            except StreamBusyError:
                yield from self._abandon()
                raise
        yield from self._abandon()

    def _exclusively(self, name: str, call: Callable[[LiveStream], SansIO[T]]) -> SansIO[T]:
        if os.getpid() != self._process:
            raise CodecNotOpenError("the stream was opened in another process; open a codec here")
        self._one_at_a_time.enter(name)
        try:
            return (yield from call((yield from self._opened())))
        finally:
            self._one_at_a_time.leave()
            if self._abandoned:
                yield from self._abandon()

    def _opened(self) -> SansIO[LiveStream]:
        if self._abandoned and self._live is None:
            raise StreamClosedError("the stream is closed; open another one")
        if self._live is None:
            self._live = yield from self._open_stream()
            yield from self._live.begin()
        return self._live

    def _abandon(self) -> SansIO[None]:
        """End the stream and discard the rest of its output, now or after the call that is under way."""
        self._abandoned = True
        try:
            self._one_at_a_time.enter("its end")
        except StreamBusyError:
            return
        try:
            if self._live is not None:
                yield from self._live.drop()
        finally:
            self._one_at_a_time.leave()


def _unchanged(live: LiveStream) -> SansIO[LiveStream]:
    yield from ()
    return live
