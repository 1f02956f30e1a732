"""The margin by which a residual quantizer chose each code."""

from collections.abc import Iterable

import torch
from torch import Tensor

__all__ = ["residual_margin"]


def residual_margin(latent: Tensor, codebooks: Iterable[Tensor]) -> Tensor:
    """Latent [B, D, T], codebooks [N, D] -> (second - best) / second squared distance, FP32 [B, K, T].

    Distances are computed in double precision; the residual keeps the precision of the latent.
    """
    residual, margins = latent.transpose(1, 2), []  # [B, T, D]
    for codebook in codebooks:
        squared = torch.cdist(residual.double(), codebook.double()[None]).square()
        nearest = squared.topk(2, largest=False)
        best, second = nearest.values.unbind(-1)
        margins.append((second - best) / second)
        residual = residual - codebook[nearest.indices[..., 0]]
    return torch.stack(margins, dim=1).float()
