"""Part ``state``: where the state of live streams is kept between steps.

    in_place     rows of a few large tensors, of which a step writes what is new
    implicit     tensors of its own for each stream, as Triton's implicit state: each step copies them into
                 the batch, computes the whole next state, rings included, and copies it out
    gather_only  as in_place, but nothing is written: less than any design takes

A batch has at most 256 rows, as in the runtime, and is one CUDA graph. Values are ms for one frame of every
stream.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from scripts.gpu.models import Models, Network
from scripts.gpu.points import Point, Reading
from scripts.gpu.steps import Slots, at_work, frame_of, recorded, state_of_stream
from scripts.gpu.timing import timed
from tritone_build.graphs.role import Role
from tritone_build.graphs.stream_roles import MOST_ROWS

__all__ = ["measured"]


def measured(point: Point, models: Models) -> Iterator[Reading]:
    """The duration of one frame of all streams, and the size of their state."""
    role = models.role(point.codec, point.model, point.weights)
    assert role.packing is not None
    size = point.batch * role.packing.state_bytes
    with at_work(models):
        reading = _implicit(point, models) if point.kind == "implicit" else _by_slot(point, role, models)
    yield replace(reading, note=f"{reading.note}; state of {size / 1e9:.2f} GB")


def _by_slot(point: Point, role: Role, models: Models) -> Reading:
    network = models.executor(point.codec, point.model, point.weights).program
    step = Slots(role, point.batch, models.device).step(network, writes=point.kind == "in_place")
    run, data = recorded(models, step), _frame(point, role, models)
    batches = torch.split(torch.arange(point.batch, device=models.device), MOST_ROWS)
    frames = [data[: len(slots)] for slots in batches]

    def round_of_steps() -> None:
        for frame, slots in zip(frames, batches, strict=True):
            run([frame, slots])

    return timed(round_of_steps, models.device, models.settings.tiny)


def _implicit(point: Point, models: Models) -> Reading:
    role = models.role(point.codec, point.model, point.weights, "tensorrt")
    network, data = models.folded(role), _frame(point, role, models)
    streams = [state_of_stream(role, models.device) for _ in range(point.batch)]
    batches = [streams[first : first + MOST_ROWS] for first in range(0, len(streams), MOST_ROWS)]
    runs = [recorded(models, _copying(network, batch)) for batch in batches]

    def round_of_steps() -> None:
        for run, batch in zip(runs, batches, strict=True):
            run([data[: len(batch)]])

    return timed(round_of_steps, models.device, models.settings.tiny)


def _copying(network: Network, streams: Sequence[Sequence[Tensor]]) -> Network:
    """A step that copies the state of each stream into a batch, and the new state back."""
    batch = [torch.stack(tensors) for tensors in zip(*streams, strict=True)]

    def run(data: Tensor) -> Sequence[Tensor]:
        for row, stream in enumerate(streams):
            for gathered, held in zip(batch, stream, strict=True):
                gathered[row].copy_(held)
        output, *state = network(data, *batch)
        for row, stream in enumerate(streams):
            for new, held in zip(state, stream, strict=True):
                held.copy_(new[row])
        return [output]

    return run


def _frame(point: Point, role: Role, models: Models) -> Tensor:
    geometry = models.codec(point.codec).geometry
    return frame_of(role, geometry, min(point.batch, MOST_ROWS), models.device)
