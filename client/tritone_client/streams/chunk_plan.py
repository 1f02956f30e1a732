"""Chunk plans: small chunks first, so that sound comes soon; larger ones later, which cost less each."""

import operator
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tritone_client.errors import ChunkPlanError
from tritone_client.info import CodecInfo
from tritone_client.streams.live import TokenInput

__all__ = ["ChunkPlan", "PlannedFrames"]


class ChunkPlan:
    """Sizes of the chunks of a stream, in frames: ``first``, then twice as many each time, up to ``then``.

    Chunks that grow like this leave no gap if tokens come twice as fast as their sound is played. Without
    ``then``, what follows the first chunk is sent as it comes; without ``first``, chunks have ``then`` frames
    from the beginning; without both, everything is sent as it comes.

    Raises:
        ChunkPlanError: a size is no positive integer, or ``then`` is less than ``first``.
    """

    def __init__(self, first: int | None = None, then: int | None = None):
        self.first, self.then = _size("first", first), _size("then", then)
        if self.first is not None and self.then is not None and self.then < self.first:
            raise ChunkPlanError(
                f"chunks grow from first to then, got first={self.first} and then={self.then}; exchange them"
            )

    @property
    def as_it_comes(self) -> bool:
        """Whether everything is sent as it comes."""
        return self.first is None and self.then is None

    def size(self, number: int) -> int | None:
        """Frames of a chunk, counted from 0; None if all that is there is sent."""
        if self.first is None or number == 0:
            return self.first or self.then
        return None if self.then is None else min(self.first << min(number, 62), self.then)


class PlannedFrames:
    """Tokens of any number of frames, put together to the chunks of a plan; no input or output."""

    def __init__(self, plan: ChunkPlan, info: CodecInfo):
        self._plan, self._input, self._number = plan, TokenInput(info), 0
        self._held: list[NDArray[np.int64]] = []

    def chunks(self, items: Iterable[Any]) -> Iterator[Any]:
        """The chunks of all items, as they become complete."""
        for item in items:
            yield from self.push(item)
        yield from self.flush()

    def push(self, data: Any) -> list[Any]:
        """Take tokens [K, T] or [K]; the chunks that are complete now. Errors as of a stream's push."""
        if self._plan.as_it_comes:
            return [data]
        self._held.append(self._input.checked(data))
        return self._complete()

    def flush(self) -> list[Any]:
        """The last chunk, which may be smaller; none if nothing is left."""
        held, self._held = self._held, []
        return [np.concatenate(held, axis=1)] if held else []

    def _complete(self) -> list[Any]:
        if sum(each.shape[1] for each in self._held) < (self._plan.size(self._number) or 1):
            return []
        chunks, tokens = [], np.concatenate(self._held, axis=1)
        while tokens.shape[1]:
            size = self._plan.size(self._number) or tokens.shape[1]
            if tokens.shape[1] < size:
                break
            chunks.append(tokens[:, :size])
            tokens, self._number = tokens[:, size:], self._number + 1
        self._held = [tokens] if tokens.shape[1] else []
        return chunks


def _size(name: str, given: Any) -> int | None:
    if given is None:
        return None
    try:
        size = 0 if isinstance(given, bool) else operator.index(given)
    except TypeError:
        size = 0
    if size < 1:
        raise ChunkPlanError(f"{name} is a positive number of frames, or None; got {given!r}")
    return size
