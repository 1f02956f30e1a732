"""Compares a graph in FP16, on ONNX Runtime, with the network in FP32; its manifest keeps the result."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray
from torch import Tensor

from tritone_build.codecs.base import Codec
from tritone_build.graphs.role import Role
from tritone_build.graphs.roles import engine_role
from tritone_runtime.fidelity import differing_share, snr_db

__all__ = ["graph_fidelity"]

_LONGER = 6
_LOUDNESS = 0.1
_SEED = 0


@torch.no_grad()
def graph_fidelity(codec: Codec, role: Role, path: Path) -> dict[str, float]:
    """Measure the fidelity of a graph on seeded noise.

    Args:
        codec: the codec, in FP32.
        role: the role of one of its engines.
        path: file of the graph.

    Returns:
        ``snr_db`` for audio, or ``equal_tokens``, the share of equal tokens in the first codebook; with
        the ``rows`` and ``frames`` of the input.
    """
    given = _noise(codec, role)
    exact = engine_role(replace(codec, dtype=torch.float32), role.name).module(
        *(tensor.float() if tensor.is_floating_point() else tensor for tensor in given)
    )[0]
    named = dict(zip(role.inputs, (tensor.numpy() for tensor in given), strict=True))
    session = onnxruntime.InferenceSession(path)
    made: NDArray[Any] = session.run(None, named)[0]
    measured = {"rows": len(made), "frames": made.shape[-1] // _steps(codec, role)}
    if made.dtype == np.int64:
        return {"equal_tokens": 1 - differing_share(exact[:, 0].numpy(), made[:, 0])} | measured
    return {"snr_db": round(snr_db(exact.numpy(), made), 1)} | measured


def _steps(codec: Codec, role: Role) -> int:
    return 1 if "tokens" in role.outputs else codec.geometry.samples_per_frame


def _noise(codec: Codec, role: Role) -> tuple[Tensor, ...]:
    """Return inputs like the role's example, but longer and not silent."""
    draw, g = torch.Generator().manual_seed(_SEED), codec.geometry
    data, *others = role.example
    shape = (*data.shape[:-1], _LONGER * data.shape[-1])
    if role.packing is None:
        others = [torch.full_like(others[0], shape[-1])]
    name = next(iter(role.inputs))
    if name == "audio":
        return (_LOUDNESS * torch.randn(shape, generator=draw), *others)
    tokens = torch.randint(g.codebook_size, (shape[0], g.default_codebooks, shape[2]), generator=draw)
    return (tokens if name == "tokens" else codec.quantizer.dequantize(tokens), *others)
