"""A step of live streams on a device, with the state of its streams in rows of a few tensors."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack
from typing import TypeAlias

import torch
from torch import Tensor

from scripts.gpu.models import Models, Network
from tritone_build.codecs.base import Geometry
from tritone_build.graphs.role import Role
from tritone_runtime.executors.cuda_graphs import Replayed
from tritone_runtime.executors.device_slots import write_rows
from tritone_runtime.executors.state import StateTensor, state_tensors

__all__ = ["Slots", "StepFunction", "at_work", "frame_of", "recorded", "state_of_stream"]

StepFunction: TypeAlias = Callable[[Tensor, Tensor], Sequence[Tensor]]
_FULL_AFTER = 1000
"""Number of steps after which all rings are full."""


class Slots:
    """The state of streams in numbered rows, which a step reads, and writes in place.

    Args:
        role: a model of steps by slot.
        count: number of streams.
        device: where the rows are.
    """

    def __init__(self, role: Role, count: int, device: torch.device):
        self._tensors, self._outputs = state_tensors(role.metadata), list(role.outputs)
        self.rows = [_filled(tensor, count, device) for tensor in self._tensors]

    def step(self, network: Network, writes: bool = True) -> StepFunction:
        """The step of a network, whose inputs are the data and the rows INT64 [B].

        Args:
            network: takes the data, the rows, and the state of all streams.
            writes: keep the new state.
        """

        def run(data: Tensor, slots: Tensor) -> Sequence[Tensor]:
            outputs = dict(zip(self._outputs, network(data, slots, *self.rows), strict=True))
            if not writes:
                return list(outputs.values())
            for tensor, rows in zip(self._tensors, self.rows, strict=True):
                write_rows(tensor, rows, slots, outputs)
            return [outputs[self._outputs[0]], outputs["valid"]]

        return run


def _filled(tensor: StateTensor, count: int, device: torch.device) -> Tensor:
    """Noise, and counters of streams that have run for a while; zeros would say that all is fresh."""
    dtype: torch.dtype = getattr(torch, tensor.dtype.name)
    rows = torch.empty(count, *tensor.shape, dtype=dtype, device=device)
    return rows.normal_(std=0.1) if dtype.is_floating_point else rows.fill_(_FULL_AFTER)


def state_of_stream(role: Role, device: torch.device) -> list[Tensor]:
    """The state tensors of one stream that has run for a while."""
    assert role.packing is not None
    shapes = [(part.shape, part.dtype) for part in role.packing.parts]
    return [
        torch.full(shape, 0.1 if dtype.is_floating_point else _FULL_AFTER, dtype=dtype, device=device)
        for shape, dtype in shapes
    ]


def frame_of(role: Role, geometry: Geometry, batch: int, device: torch.device) -> Tensor:
    """A frame for each of ``batch`` streams: random tokens [B, K, 1], or noise [B, hop] or [B, C, hop]."""
    if "tokens" in role.inputs:
        shape = (batch, geometry.default_codebooks, 1)
        return torch.randint(geometry.codebook_size, shape, device=device)
    return 0.1 * torch.randn(batch, *geometry.audio_shape(geometry.encode_samples_per_frame), device=device)


def recorded(
    models: Models, function: Callable[..., Sequence[Tensor]]
) -> Callable[[Sequence[Tensor]], Sequence[Tensor]]:
    """The function as a CUDA graph for each shape, recorded at its first call.

    Raises:
        RuntimeError: at its first call, if it cannot be recorded.
    """

    def refuse(line: str) -> None:
        raise RuntimeError(line)

    replayed = Replayed(function, models.queue, refuse)

    def run(inputs: Sequence[Tensor]) -> Sequence[Tensor]:
        replayed.record(inputs)
        return replayed(inputs)

    return run


def at_work(models: Models) -> AbstractContextManager[object]:
    """Work on the device, in the CUDA stream of all graphs, without gradients."""
    stack = ExitStack()
    stack.enter_context(torch.no_grad())
    stack.enter_context(torch.cuda.stream(models.queue))
    return stack
