"""The state of live streams on a GPU; a step reads and writes it there, and nothing else is copied.

A step reads the rows of its streams, runs the network, and writes what is new back into the same memory: the
tails, and in a ring buffer the places of the new steps. Rows that are not ``valid`` write to a spare slot.
All of it is one CUDA graph for each power of two of streams.
"""

import json
from collections.abc import Mapping, Sequence
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tritone_runtime.errors import DeviceError
from tritone_runtime.executors.state import StateTensor
from tritone_runtime.streams.slots import FreeSlots

if TYPE_CHECKING:
    from tritone_runtime.executors.torch import TorchExecutor

__all__ = ["DeviceSlots", "write_rows"]

Array = NDArray[np.generic]


class _Arena:
    """The rows of one state tensor, zero at first."""

    def __init__(self, tensor: StateTensor, rows: int, device: torch.device):
        self._tensor = tensor
        dtype: torch.dtype = getattr(torch, tensor.dtype.name)
        self.rows = torch.zeros(rows, *tensor.shape, dtype=dtype, device=device)

    def write(self, slots: Tensor, outputs: Mapping[str, Tensor]) -> None:
        write_rows(self._tensor, self.rows, slots, outputs)


def write_rows(tensor: StateTensor, rows: Tensor, slots: Tensor, outputs: Mapping[str, Tensor]) -> None:
    """Write a step's new state into rows ``slots`` INT64 [B]; of a ring, the newest steps at their places."""
    new, axis = outputs[f"next_{tensor.name}"], tensor.ring_axis
    if axis is None or tensor.places is None:
        rows.index_copy_(0, slots, new)
        return
    # Of steps that go to the same place the last one counts: write no more than the ring holds.
    kept = min(new.shape[axis + 1], tensor.shape[axis])
    places = outputs[tensor.places][:, -kept:]
    steps = new.narrow(axis + 1, new.shape[axis + 1] - kept, kept)
    rows.movedim(axis + 1, 1)[slots[:, None], places] = steps.movedim(axis + 1, 1)


class _Step:
    """A step of the streams in slots [B]: its output and ``valid`` BOOL [B]; it writes their new state."""

    def __init__(self, executor: "TorchExecutor", arenas: Sequence[_Arena], spare: int):
        self._executor, self._arenas, self._spare = executor, arenas, spare

    def __call__(self, data: Tensor, slots: Tensor) -> tuple[Tensor, Tensor]:
        pasts = [arena.rows for arena in self._arenas]
        made = self._executor.program(data, slots, *pasts)
        outputs = dict(zip(self._executor.outputs, made, strict=True))
        valid = outputs["valid"]
        written = torch.where(valid, slots, self._spare)
        for arena in self._arenas:
            arena.write(written, outputs)
        return outputs[self._executor.outputs[0]], valid


class DeviceSlots:
    """Memory for the state of ``count`` streams, and of a spare one.

    Its methods are those of :class:`tritone_runtime.executors.interface.StreamMemory`.

    Args:
        executor: executor of the step.
        tensors: the model's state tensors.
        count: most live streams.
        free: hands out the numbers of slots; by default to this process alone.
        pads: fill batches of single frames up to a power of two; by default on a GPU only.

    Raises:
        DeviceError: the GPU has too little memory.
    """

    def __init__(
        self,
        executor: "TorchExecutor",
        tensors: Sequence[StateTensor],
        count: int,
        free: FreeSlots | None = None,
        pads: bool | None = None,
    ):
        self.count, self._executor = count, executor
        self._pads = executor.device.type == "cuda" if pads is None else pads
        self._free = free or FreeSlots(count)
        self._data, self._output = executor.inputs[0], executor.outputs[0]
        self._frame = int(executor.metadata["multiple"])
        with executor.at_work():
            _refuse_small_memory(tensors, count + 1, executor.device)
            self._arenas = [_Arena(tensor, count + 1, executor.device) for tensor in tensors]
        self._step = _Step(executor, self._arenas, count)
        self._replayed = executor.replayed(self._step)
        if executor.device.type == "cuda":
            self._record_usual()

    def take(self) -> int | None:
        """Take a free row, filled with zeros; None if there is none."""
        return self._free.take()

    def clear(self, slot: int) -> None:
        """Fill a row with zeros, which makes its stream fresh."""
        with self._executor.at_work():
            for arena in self._arenas:
                arena.rows[slot].zero_()

    def give_back(self, slot: int) -> None:
        """Free a row."""
        self.clear(slot)
        self._free.give_back(slot)

    def run(self, given: Mapping[str, Array], keep_memory: bool) -> dict[str, Any]:
        """Run one step and keep its state; its output and ``valid``, by name."""
        data, slots = given[self._data], given["slot"]
        single, rows = data.shape[-1] == self._frame, len(slots)
        if single and self._pads:
            missing = (1 << (rows - 1).bit_length()) - rows
            data = np.concatenate([data, np.zeros((missing, *data.shape[1:]), data.dtype)])
            slots = np.concatenate([slots, np.full(missing, self.count, slots.dtype)])
        with self._executor.at_work():
            inputs = [self._executor.tensor(data), self._executor.tensor(slots)]
            if single and not self._replayed.is_ready(inputs):
                self._record(inputs[0])
            output, valid = self._replayed(inputs)
            return {self._output: output.cpu().numpy()[:rows], "valid": valid.cpu().numpy()[:rows]}

    def keep(self, slots: Sequence[int], outputs: Mapping[str, Any]) -> None:
        """Do nothing: :meth:`run` has written the state."""

    def _record_usual(self) -> None:
        """Record the graphs of usual batches while the model loads, so that no listener waits for it."""
        frame: list[int] = json.loads(self._executor.metadata["frame"])
        dtype = torch.int64 if self._data == "tokens" else torch.float32
        rows = 1
        while rows < 2 * min(self.count, int(self._executor.metadata["most_rows"])):
            with self._executor.at_work():
                self._record(torch.zeros(rows, *frame, dtype=dtype, device=self._executor.device))
            rows *= 2

    def _record(self, data: Tensor) -> None:
        """Record a step for this shape of data. The steps that it takes are those of the spare slot."""
        spare = torch.full(data.shape[:1], self.count, dtype=torch.int64, device=data.device)
        self._replayed.record([torch.zeros_like(data), spare])


def _refuse_small_memory(tensors: Sequence[StateTensor], rows: int, device: torch.device) -> None:
    if device.type != "cuda":
        return
    free, _ = torch.cuda.mem_get_info(device)
    needed = rows * sum(prod(tensor.shape) * tensor.dtype.itemsize for tensor in tensors)
    if needed > free:
        raise DeviceError(
            f"the GPU has {free / 1e9:.1f} GB of free memory, and the state of {rows - 1} live streams takes "
            f"{needed / 1e9:.1f} GB; allow fewer with --max-streams"
        )
