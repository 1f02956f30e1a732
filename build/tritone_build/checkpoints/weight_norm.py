"""Weight normalization in checkpoints: w = g * v / |v| per index of one axis, in three spellings.

The axis is the one along which g has more than one number, mostly the first.

Salimans and Kingma 2016, arXiv 1602.07868. PyTorch's parametrizations write ``original0`` (g) and
``original1`` (v), its older hooks ``weight_g`` and ``weight_v``; a folded checkpoint has ``weight``.
"""

from collections.abc import Mapping
from enum import Enum

import torch
from torch import Tensor

from tritone_build.errors import CheckpointError

__all__ = ["Spelling", "fold", "unfold"]


class Spelling(Enum):
    """How a checkpoint stores a normalized weight: the suffixes of g and v."""

    PARAMETRIZED = (".parametrizations.weight.original0", ".parametrizations.weight.original1")
    HOOKED = (".weight_g", ".weight_v")
    PLAIN = ("", ".weight")


def fold(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Replace every pair of g and v by the weight; CheckpointError if one of the two is missing."""
    folded = dict(tensors)
    for g_suffix, v_suffix in (Spelling.PARAMETRIZED.value, Spelling.HOOKED.value):
        for name in tensors:
            if name.endswith(g_suffix) and name.removesuffix(g_suffix) + v_suffix not in tensors:
                raise CheckpointError(f"{name} exists but {name.removesuffix(g_suffix)}{v_suffix} is missing")
            if name.endswith(v_suffix):
                owner = name.removesuffix(v_suffix)
                if owner + g_suffix not in tensors:
                    raise CheckpointError(f"{name} exists but {owner}{g_suffix} is missing")
                g, v = folded.pop(owner + g_suffix).float(), folded.pop(name).float()
                folded[f"{owner}.weight"] = v * (g / _norm(v, _axis_of(g, v)))
    return folded


def unfold(
    tensors: Mapping[str, Tensor], spelling: Spelling, generator: torch.Generator, endings: tuple[str, ...]
) -> dict[str, Tensor]:
    """Store weights with these name endings as g and v, with random |v|; the inverse of :func:`fold`."""
    if spelling is Spelling.PLAIN:
        return dict(tensors)
    g_suffix, v_suffix = spelling.value
    spelled: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        if not name.endswith(endings):
            spelled[name] = tensor
            continue
        owner, g = name.removesuffix(".weight"), _norm(tensor)
        spelled[owner + g_suffix] = g
        spelled[owner + v_suffix] = tensor * (0.5 + torch.rand(g.shape, generator=generator))
    return spelled


def _axis_of(g: Tensor, v: Tensor) -> int:
    return next((axis for axis in range(g.ndim) if g.shape[axis] == v.shape[axis] > 1), 0)


def _norm(v: Tensor, axis: int = 0) -> Tensor:
    """Euclidean norm over all axes but one; the reduced axes are kept with length 1."""
    reduced = tuple(each for each in range(v.ndim) if each != axis)
    norm: Tensor = torch.linalg.vector_norm(v, dim=reduced, keepdim=True)
    return norm
