"""Chunks of a live stream: data that arrives in pieces of any size is cut into requests.

A chunker takes new data and returns the requests that can be sent now, each with the frames of its answer
that are new. It does no input or output.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

__all__ = ["Chunker", "FrameChunker", "Piece", "WindowChunker"]


@dataclass(frozen=True)
class Piece:
    """Data to send (its last axis is time); time steps ``start`` to ``stop`` of the answer are kept."""

    data: NDArray[Any]
    start: int
    stop: int


class Chunker(Protocol):
    """Cuts one stream; ``total`` is the number of time steps taken so far."""

    total: int

    def prime(self, data: NDArray[Any], longest: int) -> list[Piece]:
        """Take whole frames that lie before the stream, in place of its first data.

        Their answers are not kept, and neither is what a late model still has to say of them.

        Returns:
            The pieces to send, of at most ``longest`` frames each.
        """

    def push(self, data: NDArray[Any]) -> list[Piece]:
        """Take ``data``; the pieces that can be sent now."""

    def flush(self) -> list[Piece]:
        """The last pieces, at the end of the stream."""


class FrameChunker:
    """For a stateful model: every complete frame is sent once, and the last one is padded with zeros.

    A model that looks ahead answers late. Its first ``late`` steps lie before the stream; for the last ones
    it is sent frames of -1 or NaN, which say that the stream has ended.

    Args:
        hop: time steps of the input in one frame.
        output_hop: time steps of the output in one frame.
        longest: most frames in one piece.
        late: time steps of the output by which the model is late.
        short: time steps that the output of whole frames lacks at its end.
    """

    def __init__(self, hop: int, output_hop: int, longest: int, late: int = 0, short: int = 0):
        self._hop, self._output_hop, self._longest = hop, output_hop, longest
        self._late, self._short, self._time = late, short, -late  # _time: of the next step of the output
        self._rest: NDArray[Any] | None = None
        self.total = self._primed = 0

    def prime(self, data: NDArray[Any], longest: int) -> list[Piece]:
        """See :class:`Chunker`."""
        self.total = data.shape[-1]
        self._primed = self.total // self._hop
        self._time -= self._primed * self._output_hop
        return list(self._pieces(data, longest=longest))

    def push(self, data: NDArray[Any]) -> list[Piece]:
        """All frames that are complete now."""
        self.total += data.shape[-1]
        joined = _joined(self._rest, data)
        full = joined.shape[-1] // self._hop * self._hop
        self._rest = joined[..., full:]
        return list(self._pieces(joined[..., :full]))

    def flush(self) -> list[Piece]:
        """The last frame, padded, and the frames after the end that a late model needs."""
        rest, self._rest = self._rest, None
        if rest is None:
            return []
        over = -1 if np.issubdtype(rest.dtype, np.integer) else np.nan
        sizes = {0: -rest.shape[-1] % self._hop, over: -(-self._late // self._output_hop) * self._hop}
        fillings = [np.full((*rest.shape[:-1], size), value, rest.dtype) for value, size in sizes.items()]
        frames = -(-self.total // self._hop) - self._primed
        return list(
            self._pieces(np.concatenate([rest, *fillings], axis=-1), frames * self._output_hop - self._short)
        )

    def _pieces(
        self, data: NDArray[Any], end: int | None = None, longest: int | None = None
    ) -> Iterator[Piece]:
        """Pieces of ``data``; of their answers the steps from 0 to ``end`` are kept."""
        size = (longest or self._longest) * self._hop
        for at in range(0, data.shape[-1], size):
            part = data[..., at : at + size]
            steps = part.shape[-1] // self._hop * self._output_hop
            stop = steps if end is None else min(steps, max(0, end - self._time))
            yield Piece(part, min(stop, max(0, -self._time)), stop)
            self._time += steps


class WindowChunker:
    """For a stateless model: each window holds new frames and the context that the model sees around them.

    ::

        received  |--------------------------------------------|
        sent             |<- before ->|   kept   |<- after ->|
        next                                     |   kept   | ...

    Output is ``after`` frames late; the last frames come at the end. The kept frames of all windows join to
    the answer for the whole stream.

    Args:
        hop: time steps of the input in one frame.
        output_hop: time steps of the output in one frame.
        longest: most frames kept of one window.
        before: frames of the past that the model sees.
        after: frames of the future that it sees.
        least: fewest time steps that it takes.
    """

    def __init__(self, hop: int, output_hop: int, longest: int, before: int, after: int, least: int):
        self._hop, self._output_hop, self._longest = hop, output_hop, longest
        self._after, self._least = after, least
        self._fewest = -(-least // hop)
        self._before = max(before, self._fewest)  # so that a short last window can be sent with more past
        self._buffer: NDArray[Any] | None = None
        self._buffer_start = self._done = self.total = 0  # in frames; total in time steps

    def prime(self, data: NDArray[Any], longest: int) -> list[Piece]:
        """See :class:`Chunker`; nothing is sent, since the first windows will hold these frames' newest."""
        self.total = data.shape[-1]
        self._buffer, self._done = data, self.total // self._hop
        self._discard_old()
        return []

    def push(self, data: NDArray[Any]) -> list[Piece]:
        """Windows of the frames whose future has arrived."""
        self.total += data.shape[-1]
        self._buffer = _joined(self._buffer, data)
        return self._pieces(self.total // self._hop - self._after, self._least)

    def flush(self) -> list[Piece]:
        """Windows of the last frames, which have less future or none."""
        return self._pieces(-(-self.total // self._hop), 0)

    def _pieces(self, ready: int, least: int) -> list[Piece]:
        """Windows that keep the frames up to ``ready``; a window shorter than ``least`` steps has to wait."""
        pieces = []
        while self._done < ready:
            stop = min(ready, self._done + self._longest)
            piece = self._piece(stop)
            if piece.data.shape[-1] < least:
                break
            pieces.append(piece)
            self._done = stop
        self._discard_old()
        return pieces

    def _piece(self, stop: int) -> Piece:
        assert self._buffer is not None, "data has arrived"
        start = max(0, self._done - self._before)
        end = max(stop + self._after, start + self._fewest)
        sent = self._buffer[
            ..., (start - self._buffer_start) * self._hop : (end - self._buffer_start) * self._hop
        ]
        return Piece(sent, (self._done - start) * self._output_hop, (stop - start) * self._output_hop)

    def _discard_old(self) -> None:
        first = max(0, self._done - self._before)
        if self._buffer is not None:
            self._buffer = self._buffer[..., (first - self._buffer_start) * self._hop :]
        self._buffer_start = first


def _joined(rest: NDArray[Any] | None, data: NDArray[Any]) -> NDArray[Any]:
    return data if rest is None or not rest.shape[-1] else np.concatenate([rest, data], axis=-1)
