"""Live streams and iterators of audio for threads."""

from collections.abc import Generator
from types import TracebackType
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from tritone_client.inputs.arrays import ArrayLike
from tritone_client.sansio import run
from tritone_client.streams.handle import OneAtATime, StreamHandle

__all__ = ["AudioIterator", "Stream"]

T = TypeVar("T", bound=np.generic)


class Stream(Generic[T]):
    """One live utterance, on a server or in this process; a context manager. It takes one call at a time.

    If an exception leaves the ``with`` block, the stream ends and the rest of its output is discarded. If the
    model or the server fails, the stream has ended, and every later push raises the same error.
    """

    def __init__(self, handle: StreamHandle):
        self._handle = handle
        self._live = run(handle.open())

    @property
    def delay_ms(self) -> float:
        """The longest time by which the output is behind the frames, or the audio, to which it belongs.

        It is what the model looks ahead, and what the conversion of a sample rate takes; an incomplete frame
        of audio waits for its rest in addition. :meth:`close` returns what is still behind.
        """
        return self._handle.live.delay_ms

    @property
    def clipped(self) -> int:
        """How many samples of INT16, mu-law or A-law output are at full scale so far; 0 for FP32."""
        return self._handle.live.clipped

    def push(self, data: "ArrayLike | list[Any]") -> NDArray[T]:
        """Send the next piece, of any length, and get the output that is ready; it may be empty.

        Args:
            data: tokens [K, T] or one frame [K], to decode; floats [S] or [C, S] within -1..1, to encode.

        Returns:
            Audio [S] or [C, S], FP32 or of the dtype that was chosen; or tokens INT64 [K, T].

        Raises:
            TokensError, AudioError: the piece is wrong; nothing was sent, and the stream goes on.
            StreamBusyError: another call is under way; nothing was sent, and the stream goes on.
            StreamClosedError: the stream was closed, or an earlier request was interrupted.
            CodecNotOpenError: the stream was opened in another process.
            RepositoryError: at the first piece, in this process: a file of the model is missing or damaged.
            ServerFullError: at the first piece: the maximum number of streams is live.
            StreamLostError: the stream was ended because it was idle for too long.
            ServerRefusedError: the server, or the model in this process, failed on the request.
            NoServerLeftError: with failover: no server continued the stream within the deadline.
            ServerUnavailableError: the server does not answer, or the connection broke.
        """
        return run(self._handle.push(data))

    def close(self) -> NDArray[T]:
        """End the stream and get the rest of its output; empty if the stream has ended already.

        Raises:
            TokensError, AudioError: the whole stream was too short for the codec.
            StreamBusyError: another call is under way; the stream goes on.
            ServerRefusedError, ServerUnavailableError: as of :meth:`push`.
        """
        return run(self._handle.close())

    def __enter__(self) -> "Stream[T]":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: BaseException | TracebackType | None) -> None:
        run(self._handle.leave(failed=kind is not None))


class AudioIterator(Generator[NDArray[Any], None, None]):
    """An iterator over pieces of audio; StreamBusyError if two threads ask it at once."""

    def __init__(self, pieces: Generator[NDArray[Any], None, None]):
        self._pieces, self._one_at_a_time = pieces, OneAtATime()

    def send(self, value: None) -> NDArray[Any]:
        """The next piece."""
        with self._one_at_a_time.during("the next piece"):
            return self._pieces.send(value)

    def throw(self, *error: Any) -> NDArray[Any]:
        """Raise at the point where the iterator waits, which ends it."""
        with self._one_at_a_time.during("the end"):
            return self._pieces.throw(*error)
