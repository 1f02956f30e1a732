"""Part ``torch``: models in PyTorch, and what makes them faster.

Steps of live streams with full rings, the state written in place::

    eager           the modules as they are written
    folded          the exported program, whose weights are folded
    graph           the same as a CUDA graph
    runtime         the same as the runtime runs it, from NumPy arrays to NumPy arrays
    compiled        the program by torch.compile
    compiled_graph  the same as a CUDA graph

Whole inputs of the vocoder: ``eager``, and ``graph``. Values are ms for one step or one input.
"""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import torch

from scripts.gpu.models import Models, Network
from scripts.gpu.points import Point, Reading
from scripts.gpu.steps import Slots, at_work, frame_of, recorded
from scripts.gpu.timing import timed
from tritone_build.graphs.role import Role

__all__ = ["measured"]


def measured(point: Point, models: Models) -> Iterator[Reading]:
    """The duration of one step, or of one whole input."""
    role = models.role(point.codec, point.model, point.weights)
    if point.kind == "runtime":
        yield _by_runtime(point, role, models)
    elif role.packing is None:
        yield _whole(point, role, models)
    else:
        yield _step(point, role, models)


def _step(point: Point, role: Role, models: Models) -> Reading:
    with at_work(models):
        network = models.eager(role) if point.kind == "eager" else _program(point, models)
        function = Slots(role, point.batch, models.device).step(network)
        if point.kind.startswith("compiled"):
            torch._dynamo.reset()
            backend = "aot_eager" if models.settings.tiny else "inductor"
            function = torch.compile(function, dynamic=False, backend=backend)
        run = recorded(models, function)
        data = frame_of(role, models.codec(point.codec).geometry, point.batch, models.device)
        inputs = [data, torch.arange(point.batch, device=models.device)]
        replays = point.kind in ("graph", "compiled_graph")
        return timed(
            (lambda: run(inputs)) if replays else (lambda: function(*inputs)),
            models.device,
            models.settings.tiny,
        )


def _program(point: Point, models: Models) -> Network:
    return models.executor(point.codec, point.model, point.weights).program


def _by_runtime(point: Point, role: Role, models: Models) -> Reading:
    memory = models.executor(point.codec, point.model, point.weights).memory(point.batch)
    data = frame_of(role, models.codec(point.codec).geometry, point.batch, torch.device("cpu")).numpy()
    slots = np.arange(point.batch)
    given = {next(iter(role.inputs)): data, "slot": slots}
    reading = timed(lambda: memory.run(given, True), torch.device("cpu"), models.settings.tiny)
    return replace(reading, note="; ".join([reading.note, *models.log]))


def _whole(point: Point, role: Role, models: Models) -> Reading:
    geometry = models.codec(point.codec).geometry
    with at_work(models):
        network = models.eager(role) if point.kind == "eager" else _program(point, models)
        run = recorded(models, network)
        latent = torch.randn(point.batch, geometry.latent_dim, point.frames, device=models.device)
        inputs = [latent, torch.full((point.batch, 1), point.frames, device=models.device)]
        replays = point.kind == "graph"
        return timed(
            (lambda: run(inputs)) if replays else (lambda: network(*inputs)),
            models.device,
            models.settings.tiny,
        )
