"""Upsampling between convolutions in the style of ConvNeXt, over [B, T, C].

After Qwen3TTSTokenizerV2ConvNeXtBlock and the stages around it in
qwen_tts/core/tokenizer_12hz/modeling_qwen3_tts_tokenizer_v2.py of qwen-tts 0.1.1; the block is that of
ConvNeXt (Liu et al. 2022, arXiv 2201.03545), made causal.
"""

from fractions import Fraction

import torch
from torch import Tensor, nn
from torch.nn import functional

from tritone_build.layers.reach import Reach
from tritone_build.layers.unfolded import neighbours, product
from tritone_build.layers.wide import widened
from tritone_build.state import State

__all__ = ["ConvNeXt", "ConvNeXtUpsample", "Expand"]

_NORM_EPS = 1e-6
_WIDENING = 4
"""Ratio of the channels within a block and outside."""


class Expand(nn.Module):
    """Transposed convolution with kernel r and stride r: [B, T, C] -> [B, T * r, C'].

    Output steps of neighbouring input steps do not overlap, so there is no state. ``weight`` is [C, C', r],
    as in ``nn.ConvTranspose1d``.
    """

    def __init__(self, channels_in: int, channels_out: int, rate: int):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(channels_in, channels_out, rate))
        self.bias = nn.Parameter(torch.empty(channels_out))
        self.rate = rate

    @property
    def rate_change(self) -> Fraction:
        """Output steps per input step."""
        return Fraction(self.rate)

    def reach(self, past: int, future: int) -> Reach:
        """See :class:`tritone_build.layers.reach.HasReach`; the maximum over the r phases."""
        return -(-past // self.rate), (self.rate - 1 + future) // self.rate

    def forward(self, x: Tensor) -> Tensor:
        """[B, T, C] -> [B, T * r, C']."""
        matrix = self.weight.transpose(1, 2).flatten(1)
        y = product(x, matrix, self.bias.repeat(self.rate))
        return y.reshape(x.shape[0], -1, self.weight.shape[1])


class DepthwiseConv(nn.Module):
    """Causal convolution of each channel alone: [B, T, C] -> [B, T, C]; ``weight`` is [C, 1, kernel]."""

    def __init__(self, channels: int, kernel: int):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(channels, 1, kernel))
        self.bias = nn.Parameter(torch.empty(channels))

    def forward(self, x: Tensor, state: State) -> Tensor:
        """[B, T, C] -> [B, T, C]; the result is FP32 at least."""
        steps, (channels, _, kernel) = x.shape[1], self.weight.shape
        columns = neighbours(state.extend(self, x, kernel - 1, axis=1), steps, kernel)
        taps = widened(columns.reshape(-1, steps, kernel, channels)) * self.weight[:, 0].T
        return taps.sum(2) + self.bias


class ConvNeXt(nn.Module):
    """x + gamma * contracted(gelu(expanded(norm(depthwise convolution of x)))); [B, T, C] -> [B, T, C]."""

    def __init__(self, channels: int, kernel: int):
        super().__init__()
        self.depthwise = DepthwiseConv(channels, kernel)
        self.norm = nn.LayerNorm(channels, _NORM_EPS)
        self.expanding = nn.Linear(channels, _WIDENING * channels)
        self.contracting = nn.Linear(_WIDENING * channels, channels)
        self.gamma = nn.Parameter(torch.empty(channels))

    def reach(self, past: int, future: int) -> Reach:
        """See :class:`tritone_build.layers.reach.HasReach`."""
        return past + self.depthwise.weight.shape[2] - 1, future

    def forward(self, x: Tensor, state: State) -> Tensor:
        """[B, T, C] -> [B, T, C]."""
        hidden = self.norm(self.depthwise(x, state)).to(x.dtype)
        hidden = functional.gelu(product(hidden, self.expanding.weight.T, self.expanding.bias))
        weight = (self.contracting.weight * self.gamma[:, None]).T
        return x + product(hidden, weight, self.contracting.bias * self.gamma)


class ConvNeXtUpsample(nn.Module):
    """A transposed convolution without overlap, then a block: [B, T, C] -> [B, T * r, C]."""

    def __init__(self, channels: int, rate: int, kernel: int):
        super().__init__()
        self.expand = Expand(channels, channels, rate)
        self.block = ConvNeXt(channels, kernel)

    @property
    def rate_change(self) -> Fraction:
        """Output steps per input step."""
        return self.expand.rate_change

    def reach(self, past: int, future: int) -> Reach:
        """See :class:`tritone_build.layers.reach.HasReach`."""
        return self.expand.reach(*self.block.reach(past, future))

    def forward(self, x: Tensor, state: State) -> Tensor:
        """[B, T, C] -> [B, T * r, C]."""
        y: Tensor = self.block(self.expand(x), state)
        return y
