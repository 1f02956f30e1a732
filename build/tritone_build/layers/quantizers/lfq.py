"""Residual lookup-free quantization, as in MOSS Audio Tokenizer.

Source: modeling_moss_audio_tokenizer.py of OpenMOSS/MOSS-Audio-Tokenizer (MossAudioTokenizerResidualLFQ).
The search compares normalized rows; dequantizing uses the rows as they are. Everything computes in FP32.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["ResidualLfq"]


class ResidualLfq(nn.Module):
    """K codebooks of N rows of ``code_dim`` numbers, each quantizing the residual of the ones before it.

    Args:
        num_codebooks: K.
        codebook_size: N.
        code_dim: size of a row.
        dim: size of the vectors that are quantized.
        latent_dim: size of the latent, which is projected to ``dim`` and back.
    """

    def __init__(self, num_codebooks: int, codebook_size: int, code_dim: int, dim: int, latent_dim: int):
        super().__init__()
        self.codebooks = nn.Parameter(torch.empty(num_codebooks, codebook_size, code_dim))
        self.code_in_weight = nn.Parameter(torch.empty(num_codebooks, code_dim, dim, 1))
        self.code_in_bias = nn.Parameter(torch.empty(num_codebooks, code_dim))
        self.code_out_weight = nn.Parameter(torch.empty(num_codebooks, dim, code_dim, 1))
        self.code_out_bias = nn.Parameter(torch.empty(num_codebooks, dim))
        self.in_weight = nn.Parameter(torch.empty(dim, latent_dim, 1))
        self.in_bias = nn.Parameter(torch.empty(dim))
        self.out_weight = nn.Parameter(torch.empty(latent_dim, dim, 1))
        self.out_bias = nn.Parameter(torch.empty(latent_dim))

    def dequantize(self, tokens: Tensor) -> Tensor:
        """Tokens [B, K', T], each in range, K' from 1 to K, -> latent [B, D, T]."""
        books, frames = tokens.shape[1], tokens.shape[2]
        first = torch.arange(books)[:, None] * self.codebooks.shape[1]
        rows = self.codebooks.flatten(0, 1).index_select(0, (tokens + first).flatten())
        codes = rows.reshape(-1, books, frames, self.codebooks.shape[2]).permute(0, 2, 1, 3).flatten(2)
        matrix = self.code_out_weight[..., 0].transpose(1, 2).narrow(0, 0, books).flatten(0, 1)
        summed = codes @ matrix + self.code_out_bias.narrow(0, 0, books).sum(0)
        return (summed @ self.out_weight[..., 0].T + self.out_bias).transpose(1, 2)

    def quantize(self, latent: Tensor) -> Tensor:
        """Latent [B, D, T] -> tokens INT64 [B, K, T]."""
        residual, tokens = latent.transpose(1, 2) @ self.in_weight[..., 0].T + self.in_bias, []
        directions = functional.normalize(self.codebooks, dim=2)
        for book, codebook in enumerate(self.codebooks):
            code = residual @ self.code_in_weight[book, ..., 0].T + self.code_in_bias[book]
            # Among unit vectors the nearest has the largest product, whatever the length of the code.
            nearest = (code @ directions[book].T).argmax(2)
            tokens.append(nearest)
            row = codebook.index_select(0, nearest.flatten()).reshape(code.shape)
            residual = residual - (row @ self.code_out_weight[book, ..., 0].T + self.code_out_bias[book])
        return torch.stack(tokens, 1)
