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
        return _nearest(latent @ self.in_weight[:, :, 0].T, self.codebooks()[:count])[0]

    def quantize_asked(self, latent: Tensor, usual: int, more: Tensor) -> list[Tensor]:
        """As :meth:`quantize`, of all codebooks; unless ``more``, BOOL, zeros after the first ``usual``."""
        codebooks = self.codebooks()
        tokens, residual = _nearest(latent @ self.in_weight[:, :, 0].T, codebooks[:usual])
        rest = codebooks[usual:]

        # torch.cond wants to see that both branches have the same strides: rows of a fixed length do.
        def search(residual: Tensor) -> Tensor:
            return torch.stack(_nearest(residual, rest)[0], 1)

        def skip(residual: Tensor) -> Tensor:
            return torch.zeros(residual.shape[0], len(rest), dtype=torch.int64, device=residual.device)

        flat = residual.flatten(0, 1)
        if torch.compiler.is_exporting():
            found = torch.cond(more, search, skip, (flat,))
        else:  # torch.cond would compile the branches
            found = search(flat) if more else skip(flat)
        return [*tokens, *found.reshape(*residual.shape[:2], -1).unbind(2)]


def _nearest(residual: Tensor, codebooks: Tensor) -> tuple[list[Tensor], Tensor]:
    """Residual [..., dim] -> tokens [...] of each codebook, and what is left of the residual."""
    tokens = []
    for book in range(codebooks.shape[0]):  # torch.cond does not trace an iteration over a tensor
        codebook = codebooks[book]
        # |x - c|^2 - |x|^2: |x|^2 is the same for all entries.
        nearest = (codebook.square().sum(1) - 2 * (residual @ codebook.T)).argmin(-1)
        tokens.append(nearest)
        residual = residual - codebook.index_select(0, nearest.flatten()).reshape(residual.shape)
    return tokens, residual


class SplitResidualQuantizer(nn.Module):
    """One semantic codebook and the acoustic codebooks; both parts quantize the same latent.

    Codebooks after the first ``usual`` are searched only if they are asked for.
    """

    def __init__(
        self, num_codebooks: int, codebook_size: int, dim: int, latent_dim: int, usual: int | None = None
    ):
        super().__init__()
        self.usual = num_codebooks if usual is None else usual
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

    def quantize_asked(self, latent: Tensor, count: Tensor) -> Tensor:
        """As :meth:`quantize`; codebooks after the first ``count``, INT64 of one element, may give zeros."""
        if self.usual > self.acoustic.embedding_sum.shape[0]:
            return self.quantize(latent)
        steps, more = latent.transpose(1, 2), (count > self.usual).any()
        acoustic = self.acoustic.quantize_asked(steps, self.usual - 1, more)
        return torch.stack(self.semantic.quantize(steps) + acoustic, 1)
