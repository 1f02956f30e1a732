"""A live stream, for a thread."""

from collections.abc import Generator
from types import TracebackType
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from tritone_client.inputs.arrays import ArrayLike
from tritone_client.sansio import run
from tritone_client.streams.handle import OneAtATime, StreamHandle

__all__ = ["AudioIterator", "Stream"]

T = TypeVar("T", np.float32, np.int64)


class Stream(Generic[T]):
    """One utterance as it happens; a context manager, for one call at a time.

    Leaving the block by an exception ends the stream on the server without asking for what is left.
    After an error of the server the stream is over, and every later push raises the same.
    """

    def __init__(self, session: StreamHandle):
        self._session = session
        self._live = run(session.open())

    def push(self, data: "ArrayLike | list[Any]") -> NDArray[T]:
        """Give the next piece, of any length, and get what is ready, which may be empty.

        Raises:
            TokensError, AudioError: what is wrong with the piece; nothing was sent, and the stream goes on.
            StreamBusyError: another thread's call is under way; nothing was sent, and the stream goes on.
            ServerFullError: at the first piece; the server takes no more streams now.
            StreamLostError: the server ended the stream, which was idle for too long.
            ServerRefusedError, ServerUnavailableError: what else happened.
            StreamClosedError: after closing.
        """
        return run(self._session.push(data))

    def close(self) -> NDArray[T]:
        """End the stream and get what is left; a second time, nothing.

        Raises:
            StreamBusyError: another thread's call is under way; the stream goes on.
        """
        return run(self._session.close())

    def __enter__(self) -> "Stream[T]":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: BaseException | TracebackType | None) -> None:
        run(self._session.leave(failed=kind is not None))


class AudioIterator(Generator[NDArray[np.float32], None, None]):
    """An iterator over pieces of audio; StreamBusyError where two threads ask it at once."""

    def __init__(self, pieces: Generator[NDArray[np.float32], None, None]):
        self._pieces, self._turns = pieces, OneAtATime()

    def send(self, value: None) -> NDArray[np.float32]:
        """The next piece."""
        self._turns.enter("the next piece")
        try:
            return self._pieces.send(value)
        finally:
            self._turns.leave()

    def throw(self, *error: Any) -> NDArray[np.float32]:
        """Raise where the iterator stands, which ends it."""
        self._turns.enter("the end")
        try:
            return self._pieces.throw(*error)
        finally:
            self._turns.leave()
