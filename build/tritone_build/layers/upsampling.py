"""Upsampling in the decoder of Qwen3-TTS's 12 Hz tokenizer: ConvNeXt stages, then blocks with SnakeBeta.

After Qwen3TTSTokenizerV2ConvNeXtBlock, Qwen3TTSTokenizerV2DecoderDecoderBlock and the layers around them in
qwen_tts/core/tokenizer_12hz/modeling_qwen3_tts_tokenizer_v2.py of qwen-tts 0.1.1. The first is the block of
ConvNeXt (Liu et al. 2022, arXiv 2201.03545), made causal; the blocks after it have the shape of DAC's decoder
(Kumar et al. 2023, arXiv 2306.06546).

ConvNeXt and the first half of the blocks compute over [B, T, C], as matrix products: these layers have many
weights and few steps. The second half computes over [B, C, T], as convolutions: its layers have few weights
and many steps, whose neighbours would have to be copied for a product.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

import torch
from torch import Tensor, nn
from torch.nn import functional

from tritone_build.layers.conv import Causal, Conv1d, UpsampleConv1d
from tritone_build.layers.reach import Reach, reach_of
from tritone_build.layers.snake import SnakeBeta
from tritone_build.layers.unfolded import UnfoldedConv1d, UnfoldedUpsample, neighbours, product
from tritone_build.layers.wide import widened
from tritone_build.state import State

__all__ = ["ConvNeXt", "ConvNeXtUpsample", "Expand", "SnakeDecoder", "SnakeDecoderConfig"]

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


_KERNEL = 7
_DILATIONS = (1, 3, 9)


@dataclass(frozen=True)
class SnakeDecoderConfig:
    """``rates`` are the upsampling rates of the blocks; channels begin with ``base_channels`` and halve."""

    dim: int
    base_channels: int
    rates: tuple[int, ...]

    def channels_after(self, blocks: int) -> int:
        """Channels after so many blocks."""
        return self.base_channels >> blocks


def _conv(channels: int, kernel: int, dilation: int, time_last: bool) -> nn.Module:
    if time_last:
        return Conv1d(channels, channels, kernel, Causal.of(kernel, dilation), dilation=dilation)
    return UnfoldedConv1d(channels, channels, kernel, dilation=dilation)


def _activation(channels: int, time_last: bool) -> SnakeBeta:
    return SnakeBeta(channels, channel_axis=1 if time_last else 2)


class ResidualUnit(nn.Module):
    """x + pointwise(snake(dilated convolution(snake x))); [B, T, C], or [B, C, T] with ``time_last``."""

    def __init__(self, channels: int, dilation: int, time_last: bool):
        super().__init__()
        self.act1, self.act2 = _activation(channels, time_last), _activation(channels, time_last)
        self.conv1 = _conv(channels, _KERNEL, dilation, time_last)
        self.conv2 = _conv(channels, 1, 1, time_last)

    def reach(self, past: int, future: int) -> Reach:
        """See :class:`tritone_build.layers.reach.HasReach`."""
        return reach_of([self.conv1, self.conv2], past, future)

    def forward(self, x: Tensor, state: State) -> Tensor:
        """Any of the two layouts."""
        added: Tensor = self.conv2(self.act2(self.conv1(self.act1(x), state)), state)
        return x + added


class DecoderBlock(nn.Module):
    """Snake, upsampling by r to half the channels, and three residual units.

    [B, T, C] -> [B, T * r, C / 2], or [B, C, T] -> [B, C / 2, T * r] with ``time_last``.
    """

    def __init__(self, channels: int, rate: int, time_last: bool):
        super().__init__()
        up: type[nn.Module] = UpsampleConv1d if time_last else UnfoldedUpsample
        self.rate, self.time_last = rate, time_last
        self.act = _activation(channels, time_last)
        self.up = up(channels, channels // 2, rate)
        self.units = nn.ModuleList(ResidualUnit(channels // 2, each, time_last) for each in _DILATIONS)

    @property
    def rate_change(self) -> Fraction:
        """Output steps per input step."""
        return Fraction(self.rate)

    def reach(self, past: int, future: int) -> Reach:
        """See :class:`tritone_build.layers.reach.HasReach`."""
        return reach_of([self.up, *self.units], past, future)

    def forward(self, x: Tensor, state: State) -> Tensor:
        """See the class."""
        x = self.up(self.act(x), state)
        for unit in self.units:
            x = unit(x, state)
        return x


class ToAudio(nn.Module):
    """Causal convolution to one channel, in FP32: [B, C, T] -> [B, T]; ``weight`` is [1, C, kernel]."""

    def __init__(self, channels: int):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(1, channels, _KERNEL))
        self.bias = nn.Parameter(torch.empty(1))

    def reach(self, past: int, future: int) -> Reach:
        """See :class:`tritone_build.layers.reach.HasReach`."""
        return past + _KERNEL - 1, future

    def forward(self, x: Tensor, state: State) -> Tensor:
        """[B, C, T] -> [B, T], multiplied first, then summed over neighbouring steps."""
        steps = x.shape[2]
        parts = self.weight[0].T @ widened(state.extend(self, x, _KERNEL - 1))
        return sum((parts[:, n, n : n + steps] for n in range(_KERNEL)), self.bias)


class SnakeDecoder(nn.Module):
    """[B, T, D] -> audio [B, T * product of the rates]."""

    def __init__(self, config: SnakeDecoderConfig):
        super().__init__()
        count = len(config.rates)
        self.turn = count // 2
        self.first = UnfoldedConv1d(config.dim, config.base_channels, _KERNEL)
        self.blocks = nn.ModuleList(
            DecoderBlock(config.channels_after(n), rate, time_last=n >= self.turn)
            for n, rate in enumerate(config.rates)
        )
        self.act = SnakeBeta(config.channels_after(count), channel_axis=1)
        self.last = ToAudio(config.channels_after(count))

    def chain(self) -> Iterator[nn.Module]:
        """The layers in the order in which they run."""
        yield from (self.first, *self.blocks, self.last)

    def forward(self, x: Tensor, state: State) -> Tensor:
        """[B, T, D] -> audio [B, T * product of the rates]."""
        x = self.first(x, state)
        for block in self.blocks[: self.turn]:
            x = block(x, state)
        x = x.transpose(1, 2)
        for block in self.blocks[self.turn :]:
            x = block(x, state)
        audio: Tensor = self.last(self.act(x), state)
        return audio
