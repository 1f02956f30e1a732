"""One model of a codec, as a module whose tensors have names and axes."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

import torch
from torch import Tensor, nn

from tritone_build.codecs.base import Codec
from tritone_build.graphs.steps import Packing

__all__ = ["BATCH", "Axes", "Role", "choice_of_codebooks", "example_tokens", "token_axes"]

Axes: TypeAlias = tuple[int | str, ...]

BATCH = 2
"""Rows of the examples."""


@dataclass(frozen=True)
class Role:
    """One model of a codec: a module, an example of its inputs, and how its tensors are called.

    ``inputs`` and ``outputs`` give each tensor's axes; axes that are names vary. ``defaults`` are the
    values of inputs that may be left out. ``packing`` is the state of a live stream and ``metadata``
    what its server must know, for the steps of streams. An ``engine`` is compiled by TensorRT: nothing in
    it may fail, so it marks what it refuses (see :mod:`tritone_build.graphs.export`).
    """

    name: str
    module: nn.Module
    example: tuple[Tensor, ...]
    inputs: Mapping[str, Axes]
    outputs: Mapping[str, Axes]
    defaults: Mapping[str, list[list[int]]] = field(default_factory=dict)
    packing: Packing | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    engine: bool = False


def example_tokens(codec: Codec) -> Tensor:
    """INT64 [BATCH, K, T]."""
    g = codec.geometry
    return torch.zeros(BATCH, g.default_codebooks, max(5, g.min_frames), dtype=torch.int64)


def token_axes(codec: Codec) -> Axes:
    """Of tokens whose number of codebooks is the caller's choice, where there is one."""
    g = codec.geometry
    return ("batch", "codebooks" if g.min_codebooks < g.num_codebooks else g.num_codebooks, "frames")


def choice_of_codebooks(codec: Codec) -> dict[str, list[list[int]]]:
    """The input that says how many codebooks, and its default, where there is a choice."""
    g = codec.geometry
    return {"num_codebooks": [[g.default_codebooks]]} if g.min_codebooks < g.num_codebooks else {}
