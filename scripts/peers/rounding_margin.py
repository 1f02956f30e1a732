"""The margin by which a residual quantizer chose each code."""

from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import avg_pool1d, normalize

__all__ = ["direction_margin", "direction_margins", "residual_margin"]


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


def direction_margin(latent: Tensor, quantizers: Iterable[Any]) -> Tensor:
    """Latent [B, D, T] -> the same margin between directions, for quantizers with projections in and out.

    Args:
        latent: before quantization.
        quantizers: modules with ``in_proj``, ``codebook`` (an embedding), and ``forward``, which returns
            what a codebook stands for first.
    """
    return torch.stack(list(direction_margins(latent, quantizers)), dim=1).float()


def direction_margins(latent: Tensor, quantizers: Iterable[Any]) -> Iterator[Tensor]:
    """The margins of one codebook after the other, FP64 [B, T / stride].

    Arguments as of :func:`direction_margin`; a quantizer with a ``stride`` sees the mean of so many steps.
    """
    residual = latent
    for each in quantizers:
        stride = getattr(each, "stride", 1)
        codes = normalize(each.in_proj(avg_pool1d(residual, stride)).double(), dim=1).transpose(1, 2)
        directions = normalize(each.codebook.weight.double(), dim=1)
        nearest = torch.cdist(codes, directions[None]).square().topk(2, largest=False).values
        best, second = nearest.unbind(-1)
        yield (second - best) / second
        residual = residual - each(residual)[0]
