"""A causal decoder of transposed convolutions and dilated residual units with SnakeBeta.

After Qwen3TTSTokenizerV2DecoderDecoderBlock and the layers around it in
qwen_tts/core/tokenizer_12hz/modeling_qwen3_tts_tokenizer_v2.py of qwen-tts 0.1.1; the shape is that of DAC's
decoder (Kumar et al. 2023, arXiv 2306.06546).

The first half of the blocks computes over [B, T, C], as matrix products: these layers have many weights and
few steps. The second half computes over [B, C, T], as convolutions: its layers have few weights and many
steps, whose neighbours would have to be copied for a product.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

import torch
from torch import Tensor, nn

from tritone_build.layers.conv import Causal, Conv1d, UpsampleConv1d
from tritone_build.layers.reach import Reach, reach_of
from tritone_build.layers.snake import SnakeBeta
from tritone_build.layers.unfolded import UnfoldedConv1d, UnfoldedUpsample
from tritone_build.layers.wide import widened
from tritone_build.state import State

__all__ = ["SnakeDecoder", "SnakeDecoderConfig"]

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
