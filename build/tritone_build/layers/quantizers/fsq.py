"""Finite scalar quantization (Mentzer et al. 2023, arXiv 2309.15505), in groups, as in NeMo.

Source: nemo/collections/tts/modules/audio_codec_modules.py of NeMo 3.0.0, FiniteScalarQuantizer and
GroupFiniteScalarQuantizer. Half precision cannot hold the indices, so this module computes in FP32.
"""

from collections.abc import Sequence
from itertools import accumulate
from math import prod
from operator import mul

import torch
from torch import Tensor, nn

__all__ = ["FiniteScalarQuantizer"]

_EPSILON = 1e-3


class FiniteScalarQuantizer(nn.Module):
    """K groups, each rounding ``len(levels)`` latent dimensions to a grid of prod(levels) points."""

    def __init__(self, num_groups: int, levels: Sequence[int]):
        super().__init__()
        self.num_groups, self.levels = num_groups, tuple(levels)
        self.register_buffer("codebook", self._codebook(), persistent=False)

    @property
    def codebook_size(self) -> int:
        """Number of grid points; tokens are 0..codebook_size - 1."""
        return prod(self.levels)

    @property
    def bases(self) -> list[int]:
        """Factor of each dimension's level in the index; the first dimension varies fastest."""
        return list(accumulate(self.levels[:-1], mul, initial=1))

    def _codebook(self) -> Tensor:
        """Grid points [N, d]; with an even number of levels they include -1 but not +1."""
        digits = (
            torch.arange(self.codebook_size)[:, None] // torch.tensor(self.bases) % torch.tensor(self.levels)
        )
        halves = torch.tensor([level // 2 for level in self.levels])
        return (digits - halves) / halves

    def dequantize(self, tokens: Tensor) -> Tensor:
        """Tokens [B, K, T], each in range, -> latent [B, K * d, T]."""
        codebook: Tensor = self.get_buffer("codebook")
        return codebook[tokens].transpose(2, 3).flatten(1, 2)

    def quantize(self, latent: Tensor) -> Tensor:
        """Latent [B, K * d, T] -> tokens INT64 [B, K, T]; halves round to even."""
        digits = torch.round(self._bounded(latent)) + self._per_dimension([n // 2 for n in self.levels])
        return (digits * self._per_dimension(self.bases).float()).sum(2).to(torch.int64)

    def straight_through(self, latent: Tensor) -> Tensor:
        """Quantize and dequantize a latent [B, K * d, T]; the gradient passes straight through."""
        bounded = self._bounded(latent)
        rounded = bounded + (torch.round(bounded) - bounded).detach()
        return (rounded / self._per_dimension([n // 2 for n in self.levels])).flatten(1, 2)

    def _bounded(self, latent: Tensor) -> Tensor:
        """[B, K * d, T] -> [B, K, d, T], bounded to the grid plus half a step."""
        levels = self._per_dimension(self.levels)
        scale = (levels - 1) / 2 * (1 - _EPSILON)
        offset = torch.where(levels % 2 == 0, 0.5, 0.0)
        grouped = latent.reshape(latent.shape[0], self.num_groups, len(self.levels), latent.shape[2])
        return scale * torch.tanh(grouped + torch.tan(offset / scale)) - offset

    def _per_dimension(self, values: Sequence[int]) -> Tensor:
        """INT32 [d, 1], on the device of the codebook."""
        return torch.tensor(values, dtype=torch.int32, device=self.get_buffer("codebook").device)[:, None]
