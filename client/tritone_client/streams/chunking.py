"""Cutting a stream that arrives in pieces of any size into requests.

A chunker takes what has come and gives the pieces that can be sent now, each with the frames of its
answer that are new. It does no input and output.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

__all__ = ["Chunker", "FrameChunker", "Piece", "WindowChunker"]


@dataclass(frozen=True)
class Piece:
    """What to send, time last, and the frames ``start`` to ``stop`` of its answer that are kept."""

    data: NDArray[Any]
    start: int
    stop: int


class Chunker(Protocol):
    """``total`` counts the time steps taken so far."""

    total: int

    def push(self, data: NDArray[Any]) -> list[Piece]:
        """What can be sent once ``data`` has come."""

    def flush(self) -> list[Piece]:
        """What is left at the end."""


class FrameChunker:
    """For a model that keeps its past: every full frame, once; the last one filled with zeros.

    Args:
        steps: time steps of the input in one frame.
        longest: most frames in one piece.
    """

    def __init__(self, steps: int, longest: int):
        self._steps, self._longest = steps, longest
        self._rest: NDArray[Any] | None = None
        self.total = 0

    def push(self, data: NDArray[Any]) -> list[Piece]:
        """All full frames."""
        self.total += data.shape[-1]
        joined = _joined(self._rest, data)
        full = joined.shape[-1] // self._steps * self._steps
        self._rest = joined[..., full:]
        return list(self._pieces(joined[..., :full]))

    def flush(self) -> list[Piece]:
        """The last frame, filled."""
        rest, self._rest = self._rest, None
        if rest is None or not rest.shape[-1]:
            return []
        missing = -rest.shape[-1] % self._steps
        filled = np.concatenate([rest, np.zeros((*rest.shape[:-1], missing), rest.dtype)], axis=-1)
        return list(self._pieces(filled))

    def _pieces(self, data: NDArray[Any]) -> Iterator[Piece]:
        size = self._longest * self._steps
        for start in range(0, data.shape[-1], size):
            part = data[..., start : start + size]
            yield Piece(part, 0, part.shape[-1] // self._steps)


class WindowChunker:
    """For a model without memory: new frames with all the context that the model sees.

    ::

        come so far  |--------------------------------------------|
        sent                |<- before ->|   kept   |<- after ->|
        next                                        |   kept   | ...

    Frames come out ``after`` frames late, the last ones at the end. The whole is what one request
    with everything would give.

    Args:
        steps: time steps of the input in one frame.
        longest: most frames kept of one piece.
        before: frames of the past that the model sees.
        after: frames of the future that it sees.
        least: fewest time steps that it takes.
    """

    def __init__(self, steps: int, longest: int, before: int, after: int, least: int):
        self._steps, self._longest, self._after, self._least = steps, longest, after, least
        self._fewest = -(-least // steps)
        self._before = max(before, self._fewest)  # so that a short end can be sent with more past
        self._held: NDArray[Any] | None = None
        self._first = self._done = self.total = 0

    def push(self, data: NDArray[Any]) -> list[Piece]:
        """Windows around the frames whose future has come."""
        self.total += data.shape[-1]
        self._held = _joined(self._held, data)
        return self._pieces(self.total // self._steps - self._after, self._least)

    def flush(self) -> list[Piece]:
        """Windows around the last frames, which have no more future."""
        return self._pieces(-(-self.total // self._steps), 0)

    def _pieces(self, ready: int, least: int) -> list[Piece]:
        """AudioIterator that keep every frame up to ``ready``, unless one were too short to send."""
        pieces = []
        while self._done < ready:
            stop = min(ready, self._done + self._longest)
            piece = self._piece(stop)
            if piece.data.shape[-1] < least:
                break
            pieces.append(piece)
            self._done = stop
        self._forget()
        return pieces

    def _piece(self, stop: int) -> Piece:
        assert self._held is not None, "something has come"
        start = max(0, self._done - self._before)
        end = max(stop + self._after, start + self._fewest)
        sent = self._held[..., (start - self._first) * self._steps : (end - self._first) * self._steps]
        return Piece(sent, self._done - start, stop - start)

    def _forget(self) -> None:
        first = max(0, self._done - self._before)
        if self._held is not None:
            self._held = self._held[..., (first - self._first) * self._steps :]
        self._first = first


def _joined(rest: NDArray[Any] | None, data: NDArray[Any]) -> NDArray[Any]:
    return data if rest is None or not rest.shape[-1] else np.concatenate([rest, data], axis=-1)
