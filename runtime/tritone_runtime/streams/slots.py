"""The state of live streams: one row of each state tensor per stream, freed when the stream ends."""

import mmap
import sys
from collections.abc import Mapping, Sequence
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tritone_runtime.executors.interface import Executor
from tritone_runtime.executors.state import StateTensor

__all__ = ["FreeSlots", "HostSlots", "Slots"]

Array = NDArray[np.generic]
_RETURNS_MEMORY = sys.platform == "linux"
"""Whether discarded pages become zeros. Elsewhere MADV_DONTNEED is missing, or keeps their content."""


def _private_memory(size: int) -> mmap.mmap:
    return mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)


class _Arena:
    """Rows of one state tensor, zero at first. A row takes memory when written, and frees it when cleared."""

    def __init__(self, tensor: StateTensor, rows: int):
        self.tensor = tensor
        self._row_bytes = max(1, prod(tensor.shape)) * tensor.dtype.itemsize
        self._memory = _private_memory(rows * self._row_bytes) if _RETURNS_MEMORY else None
        self._bytes = (
            np.zeros(rows * self._row_bytes, np.uint8)
            if self._memory is None
            else np.frombuffer(self._memory, np.uint8)
        )
        self.rows: Array = self._bytes.view(tensor.dtype).reshape(rows, *tensor.shape)

    def clear(self, row: int) -> None:
        start, stop = row * self._row_bytes, (row + 1) * self._row_bytes
        first, last = -(-start // mmap.PAGESIZE) * mmap.PAGESIZE, stop // mmap.PAGESIZE * mmap.PAGESIZE
        if self._memory is None or first >= last:
            self._bytes[start:stop] = 0
            return
        self._bytes[start:first] = 0
        self._bytes[last:stop] = 0
        self._memory.madvise(mmap.MADV_DONTNEED, first, last - first)

    def write(self, row: int, new: Array, places: Array | None) -> None:
        """Replace a row; in a ring buffer, write the new steps at ``places``."""
        axis = self.tensor.ring_axis
        if axis is None or places is None:
            self.rows[row] = new
            return
        kept = min(len(places), self.tensor.shape[axis])
        at = (slice(None),) * axis + (places[-kept:],)
        steps = new.shape[axis]
        self.rows[row][at] = new if kept == steps else new.take(range(steps - kept, steps), axis)


class FreeSlots:
    """Numbers of the free slots among ``count``."""

    def __init__(self, count: int):
        self._free = list(range(count - 1, -1, -1))

    def take(self) -> int | None:
        """Take a free number; None if there is none."""
        return self._free.pop() if self._free else None

    def give_back(self, slot: int) -> None:
        """Free a number."""
        self._free.append(slot)


class Slots:
    """Memory for the state of ``count`` streams.

    Args:
        tensors: the model's state tensors.
        count: most live streams.
        free: the free ones; by default all of them.
    """

    def __init__(self, tensors: Sequence[StateTensor], count: int, free: FreeSlots | None = None):
        self.count = count
        self._free = free or FreeSlots(count)
        self._arenas = {f"next_{tensor.name}": _Arena(tensor, count) for tensor in tensors}
        self.pasts: dict[str, Array] = {
            f"past_{arena.tensor.name}": arena.rows for arena in self._arenas.values()
        }
        """The model's inputs ``past_<name>``, which hold the state of all streams."""

    def take(self) -> int | None:
        """Take a free row, filled with zeros; None if there is none."""
        return self._free.take()

    def clear(self, slot: int) -> None:
        """Fill a row with zeros, which makes its stream fresh."""
        for arena in self._arenas.values():
            arena.clear(slot)

    def give_back(self, slot: int) -> None:
        """Free a row and its memory."""
        self.clear(slot)
        self._free.give_back(slot)

    def keep(self, slots: Sequence[int], outputs: Mapping[str, Any]) -> None:
        """Write the new state of a step, for the rows of the batch that are ``valid``."""
        for row, slot in enumerate(slots):
            if outputs["valid"][row]:
                self.write(slot, row, outputs)

    def write(self, slot: int, row: int, outputs: Mapping[str, Array]) -> None:
        """Write the new state of one stream: ``next_<name>``; for ring buffers, at their places.

        Args:
            slot: the stream's row.
            row: its row in the batch.
            outputs: the model's outputs by name.
        """
        for name, arena in self._arenas.items():
            places = arena.tensor.places
            arena.write(slot, outputs[name][row], None if places is None else outputs[places][row])


class HostSlots(Slots):
    """Slots in main memory, of an executor that takes the state of all streams and returns what is new.

    Args:
        executor: executor of the step.
        tensors: the model's state tensors.
        count: most live streams.
        free: as of :class:`Slots`.
    """

    def __init__(
        self,
        executor: Executor,
        tensors: Sequence[StateTensor],
        count: int,
        free: FreeSlots | None = None,
    ):
        super().__init__(tensors, count, free)
        self._executor = executor

    def run(self, given: Mapping[str, Array], keep_memory: bool) -> dict[str, Any]:
        """Run the model on the inputs ``given`` and the state; its outputs by name."""
        results = self._executor.run({**given, **self.pasts}, self._executor.outputs, keep_memory)
        return dict(zip(self._executor.outputs, results, strict=True))
