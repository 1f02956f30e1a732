"""Residual quantization with small codebooks, each between two projections, as in DAC, SNAC and Higgs Audio.

Sources: dac/nn/quantize.py of descript-audio-codec 1.0.0, snac/vq.py of snac 1.2.1, and for Higgs Audio v2
modeling_higgs_audio_v2_tokenizer.py of transformers 5.23.0. Everything computes in FP32, because small
differences decide which row is the nearest.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["FactorizedQuantizer"]


class FactorizedQuantizer(nn.Module):
    """K codebooks of N rows of ``code_dim`` numbers, each quantizing the residual of the ones before it.

    A codebook with stride r quantizes the mean of r steps at once. A frame is ``steps`` steps, which follow
    each other along the channels of the latent. Its tokens are ordered codebook by codebook, and in time
    within a codebook. With 4 steps and strides 4, 2 and 1 these rows of tokens are one frame::

        row           0               1       2       3   4   5   6
        codebook      0               1       1       2   2   2   2
        steps         0-3             0-1     2-3     0   1   2   3

    Args:
        num_codebooks: K.
        codebook_size: N.
        code_dim: size of a row.
        dim: D, channels of a step of the latent.
        by_direction: whether a code is compared with the rows by direction only, else by distance.
        strides: of the codebooks, each a divisor of ``steps``; default 1.
        steps: steps of the latent in a frame.
    """

    def __init__(
        self,
        num_codebooks: int,
        codebook_size: int,
        code_dim: int,
        dim: int,
        by_direction: bool = True,
        strides: Sequence[int] | None = None,
        steps: int = 1,
    ):
        super().__init__()
        self.codebooks = nn.Parameter(torch.empty(num_codebooks, codebook_size, code_dim))
        self.in_weight = nn.Parameter(torch.empty(num_codebooks, code_dim, dim))
        self.in_bias = nn.Parameter(torch.empty(num_codebooks, code_dim))
        self.out_weight = nn.Parameter(torch.empty(num_codebooks, dim, code_dim))
        self.out_bias = nn.Parameter(torch.empty(num_codebooks, dim))
        self.by_direction, self.steps = by_direction, steps
        self.strides = tuple(strides or [1] * num_codebooks)

    @property
    def rows(self) -> tuple[int, ...]:
        """Tokens of each codebook in a frame."""
        return tuple(self.steps // stride for stride in self.strides)

    def dequantize(self, tokens: Tensor) -> Tensor:
        """Tokens [B, R, T], each in range, -> latent [B, steps * D, T].

        R is the number of rows of all codebooks, or of the first ones if a frame has one step.
        """
        codes = self._codes(tokens)  # [B, T * steps, K' * code_dim]
        books = codes.shape[2] // self.codebooks.shape[2]
        matrix = self.out_weight.transpose(1, 2).narrow(0, 0, books).flatten(0, 1)
        summed = codes @ matrix + self.out_bias.narrow(0, 0, books).sum(0)
        return summed.reshape(tokens.shape[0], tokens.shape[2], -1).transpose(1, 2)

    def _codes(self, tokens: Tensor) -> Tensor:
        """Rows of the codebooks side by side, each repeated for the steps that it stands for."""
        size, width = self.codebooks.shape[1], self.codebooks.shape[2]
        table = self.codebooks.flatten(0, 1)
        if self.steps == 1:  # any number of codebooks, and one lookup for all of them
            first = torch.arange(tokens.shape[1])[:, None] * size
            codes = table.index_select(0, (tokens + first).transpose(1, 2).flatten())
            return codes.reshape(tokens.shape[0], tokens.shape[2], -1)
        parts = []
        for book, part in enumerate(torch.split(tokens, list(self.rows), 1)):
            rows = table.index_select(0, (part + book * size).transpose(1, 2).flatten())
            rows = rows.reshape(tokens.shape[0], -1, 1, width).expand(-1, -1, self.strides[book], -1)
            parts.append(rows.flatten(1, 2))
        return torch.cat(parts, 2)

    def quantize(self, latent: Tensor) -> Tensor:
        """Latent [B, steps * D, T] -> tokens INT64 [B, R, T] of all codebooks."""
        residual, tokens = latent.transpose(1, 2).reshape(latent.shape[0], -1, self.in_weight.shape[2]), []
        for book, stride in enumerate(self.strides):
            pooled = residual if stride == 1 else _pooled(residual, stride)
            nearest = self._nearest(book, pooled @ self.in_weight[book].T + self.in_bias[book])
            row = self.codebooks[book].index_select(0, nearest.flatten()).reshape(*nearest.shape, -1)
            found = row @ self.out_weight[book].T + self.out_bias[book]
            residual = residual - (found if stride == 1 else found.repeat_interleave(stride, 1))
            tokens.append(nearest.reshape(latent.shape[0], -1, self.rows[book]).transpose(1, 2))
        return torch.cat(tokens, 1)

    def _nearest(self, book: int, code: Tensor) -> Tensor:
        """Codes [B, T, code_dim] -> the numbers of the nearest rows, [B, T]."""
        rows = self.codebooks[book]
        if self.by_direction:
            # Among unit vectors the nearest has the largest product, whatever the length of the code.
            return (code @ functional.normalize(rows, dim=1).T).argmax(2)
        # |x - c|^2 - |x|^2: |x|^2 is the same for all rows.
        return (rows.square().sum(1) - 2 * (code @ rows.T)).argmin(2)


def _pooled(x: Tensor, stride: int) -> Tensor:
    """[B, T, D] -> the means of each ``stride`` steps, [B, T / stride, D]."""
    return x.reshape(x.shape[0], -1, stride, x.shape[2]).mean(2)
