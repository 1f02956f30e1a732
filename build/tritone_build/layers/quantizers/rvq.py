"""Residual vector quantization, split into a semantic and an acoustic part, as in Mimi.

Source: moshi/quantization/{vq,core_vq}.py of Kyutai's moshi 0.2.13, SplitResidualVectorQuantizer.
Everything computes in FP32, because small differences decide which entry is the nearest.
"""

import torch
from torch import Tensor, nn

__all__ = ["ResidualQuantizer", "SplitResidualQuantizer"]

_LEAST_USAGE = 1e-5


class ResidualQuantizer(nn.Module):
    """K codebooks of N entries, each for the residual of the ones before; projections in and out."""

    def __init__(self, num_codebooks: int, codebook_size: int, dim: int, latent_dim: int):
        super().__init__()
        self.embedding_sum = nn.Parameter(torch.empty(num_codebooks, codebook_size, dim))
        self.cluster_usage = nn.Parameter(torch.empty(num_codebooks, codebook_size))
        self.in_weight = nn.Parameter(torch.empty(dim, latent_dim, 1))
        self.out_weight = nn.Parameter(torch.empty(latent_dim, dim, 1))

    def codebooks(self) -> Tensor:
        """Codebooks [K, N, dim]; the checkpoint holds sums and counts of the training."""
        return self.embedding_sum / self.cluster_usage.clamp(min=_LEAST_USAGE)[:, :, None]

    def dequantize(self, tokens: Tensor) -> Tensor:
        """Tokens [B, K', T], each in range, K' <= K, -> latent [B, T, D]."""
        codebooks = self.codebooks()
        first = torch.arange(tokens.shape[1])[:, None] * codebooks.shape[1]
        entries = codebooks.flatten(0, 1).index_select(0, (tokens + first).flatten())
        summed = entries.reshape(*tokens.shape, codebooks.shape[2]).sum(1)  # 0 for no codebooks
        return summed @ self.out_weight[:, :, 0].T

    def quantize(self, latent: Tensor, count: int | None = None) -> list[Tensor]:
        """Latent [B, T, D] -> tokens [B, T] of each codebook, or of the first ``count``."""
        residual, tokens = latent @ self.in_weight[:, :, 0].T, []
        for codebook in self.codebooks()[:count]:
            # |x - c|^2 - |x|^2: |x|^2 is the same for all entries.
            nearest = (codebook.square().sum(1) - 2 * (residual @ codebook.T)).argmin(2)
            tokens.append(nearest)
            entries = codebook.index_select(0, nearest.flatten())
            residual = residual - entries.reshape(residual.shape)
        return tokens


class SplitResidualQuantizer(nn.Module):
    """One semantic codebook and the acoustic codebooks; both parts quantize the same latent."""

    def __init__(self, num_codebooks: int, codebook_size: int, dim: int, latent_dim: int):
        super().__init__()
        self.semantic = ResidualQuantizer(1, codebook_size, dim, latent_dim)
        self.acoustic = ResidualQuantizer(num_codebooks - 1, codebook_size, dim, latent_dim)

    def dequantize(self, tokens: Tensor) -> Tensor:
        """Tokens [B, K', T], each in range, K' from 1 to K, -> latent [B, D, T]."""
        latent = self.semantic.dequantize(tokens[:, :1]) + self.acoustic.dequantize(tokens[:, 1:])
        return latent.transpose(1, 2)

    def quantize(self, latent: Tensor, count: int | None = None) -> Tensor:
        """Latent [B, D, T] -> tokens INT64 [B, K, T] of all codebooks, or of the first ``count``."""
        steps, acoustic = latent.transpose(1, 2), None if count is None else count - 1
        return torch.stack(self.semantic.quantize(steps) + self.acoustic.quantize(steps, acoustic), 1)
