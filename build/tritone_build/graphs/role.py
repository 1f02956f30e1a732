"""A role: one model of a codec, as a module with names and axes for its tensors."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

import torch
from torch import Tensor, nn

from tritone_build.codecs.base import Codec
from tritone_build.graphs.steps import Packing

__all__ = ["BATCH", "Axes", "Role", "audio_axes", "choice_of_codebooks", "example_tokens", "token_axes"]

Axes: TypeAlias = tuple[int | str, ...]

BATCH = 2
"""Number of rows in the example inputs."""


@dataclass(frozen=True)
class Role:
    """One model of a codec: a module, example inputs, and the names and axes of its tensors.

    ``inputs`` and ``outputs`` map names to axes; an axis that is a name varies. ``defaults`` holds the values
    of optional inputs. For steps of streams, ``packing`` is the state of a stream and ``metadata`` what the
    server must know. An ``engine`` is compiled by TensorRT: nothing in it may fail, so it marks rows that it
    refuses (see :mod:`tritone_build.graphs.export`).
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
    """Zeros INT64 [BATCH, K, T]."""
    g = codec.geometry
    return torch.zeros(BATCH, g.default_codebooks, max(5, g.min_frames), dtype=torch.int64)


def token_axes(codec: Codec) -> Axes:
    """Axes of tokens; the number of codebooks varies if the caller may choose it."""
    g = codec.geometry
    return ("batch", "codebooks" if g.min_codebooks < g.num_codebooks else g.num_codebooks, "frames")


def audio_axes(codec: Codec) -> Axes:
    """Axes of audio; channels have an axis only if there is more than one."""
    channels = codec.geometry.num_channels
    return ("batch", "samples") if channels == 1 else ("batch", channels, "samples")


def choice_of_codebooks(codec: Codec) -> dict[str, list[list[int]]]:
    """The input ``num_codebooks`` and its default; empty if the number of codebooks is fixed."""
    g = codec.geometry
    return {"num_codebooks": [[g.default_codebooks]]} if g.min_codebooks < g.num_codebooks else {}
