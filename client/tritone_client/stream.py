"""A live stream, for a thread."""

from types import TracebackType
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from tritone_client.live import Live
from tritone_client.steps import Steps, run

__all__ = ["Stream"]

T = TypeVar("T", np.float32, np.int64)


class Stream(Generic[T]):
    """One utterance as it happens; a context manager, for one thread at a time.

    Leaving the block by an exception ends the stream on the server without asking for what is left.
    After an error of the server the stream is over, and every later push raises the same.
    """

    def __init__(self, opening: Steps[Live]):
        self._live = run(opening)

    def push(self, data: NDArray[Any]) -> NDArray[T]:
        """Give the next piece, of any length, and get what is ready, which may be empty.

        Raises:
            TokensError, AudioError: what is wrong with the piece; nothing was sent, and the stream goes on.
            ServerFullError: at the first piece; the server takes no more streams now.
            StreamLostError: the server ended the stream, which was idle for too long.
            ServerRefusedError, ServerUnavailableError: what else happened.
            StreamClosedError: after closing.
        """
        return run(self._live.push(data))

    def close(self) -> NDArray[T]:
        """End the stream and get what is left; a second time, nothing."""
        return run(self._live.close())

    def __enter__(self) -> "Stream[T]":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: BaseException | TracebackType | None) -> None:
        if kind is None:
            self.close()
        else:
            run(self._live.drop())
