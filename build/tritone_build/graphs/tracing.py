"""Traces a codec's networks with PyTorch alone; the graphs and the programs of all targets begin here."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.export import ExportedProgram

from tritone_build.graphs.role import Role

__all__ = ["quietly", "traced"]


def traced(module: torch.nn.Module, role: Role, has_others: bool) -> ExportedProgram:
    """Trace a module that takes the inputs of a role; named axes stay variable.

    With ``has_others`` the module takes all inputs after the first as one argument, ``*others``.
    """
    dynamic: list[Any] = [
        {axis: torch.export.Dim.DYNAMIC for axis, size in enumerate(axes) if isinstance(size, str)}
        for axes in role.inputs.values()
    ]
    if has_others:
        dynamic = [dynamic[0], tuple(dynamic[1:])]
    with quietly(), torch.no_grad():
        return torch.export.export(module.eval(), role.example, dynamic_shapes=tuple(dynamic), strict=False)


@contextmanager
def quietly() -> Iterator[None]:
    """Suppress the exporter's warnings about missing packages and renamed axes."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
