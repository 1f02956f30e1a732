"""Convolutions that look ahead: they pad with zeros on both sides, and answer late in streams."""

from fractions import Fraction

import torch
from torch import Tensor, nn
from torch.nn import functional

from tritone_build.layers.channels import next_multiple, zero_padded
from tritone_build.layers.conv import Conv1d, LookAhead
from tritone_build.layers.reach import Reach
from tritone_build.layers.unfolded import neighbours, product
from tritone_build.layers.wide import widened
from tritone_build.state import State

__all__ = ["DepthwiseAhead", "ToAudio", "UpsampleAhead", "conv_ahead"]

_MANY_WEIGHTS = 400_000


def conv_ahead(
    channels_in: int,
    channels_out: int,
    kernel: int,
    dilation: int = 1,
    stride: int = 1,
    few_steps: bool = False,
) -> Conv1d:
    """A convolution with equal padding on both sides; see :class:`tritone_build.layers.conv.Conv1d`."""
    padding = LookAhead.of(kernel, stride, dilation)
    return Conv1d(channels_in, channels_out, kernel, padding, stride, dilation, few_steps)


class DepthwiseAhead(nn.Module):
    """Convolution of each channel alone: [B, C, T] -> [B, C, T]; ``weight`` is [C, 1, kernel]."""

    def __init__(self, channels: int, kernel: int, dilation: int = 1):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(channels, 1, kernel))
        self.bias = nn.Parameter(torch.empty(channels))
        self.padding, self.dilation = LookAhead.of(kernel, dilation=dilation), dilation

    def reach(self, past: int, future: int) -> Reach:
        """See :class:`tritone_build.layers.reach.HasReach`."""
        return past + self.padding.left, future + self.padding.right

    def forward(self, x: Tensor, state: State) -> Tensor:
        """[B, C, T] -> [B, C, T], as a convolution over one row of pixels.

        ONNX Runtime has a kernel for depthwise convolutions of images, several times as fast as of sequences.
        """
        wide = widened(self.padding(self, x, state))
        y = functional.conv2d(
            wide[:, :, None],
            self.weight[:, :, None],
            self.bias,
            dilation=(1, self.dilation),
            groups=len(self.bias),
        )
        return y[:, :, 0].to(x.dtype)


class UpsampleAhead(nn.Module):
    """Transposed convolution with kernel 2r and stride r that cuts ceil(r / 2) steps off the start.

    [B, C, T] -> [B, C', T * r]; ``weight`` is [C, C', 2r]. With ``short`` the last step of a whole signal is
    not part of it: T steps give T * r - 1.
    """

    def __init__(self, channels_in: int, channels_out: int, rate: int, short: int):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(channels_in, channels_out, 2 * rate))
        self.bias = nn.Parameter(torch.empty(channels_out))
        self.rate, self.trim, self.short = rate, (rate + 1) // 2, short
        self.as_product = self.weight.numel() >= _MANY_WEIGHTS

    @property
    def rate_change(self) -> Fraction:
        """Output steps per input step."""
        return Fraction(self.rate)

    def reach(self, past: int, future: int) -> Reach:
        """See :class:`tritone_build.layers.reach.HasReach`; the maximum over the r phases."""
        return 1 - (self.trim - past) // self.rate, (self.rate - 1 + future + self.trim) // self.rate

    def pad_channels(self, inputs: int, outputs: int) -> None:
        """See :class:`tritone_build.layers.channels.PadsChannels`."""
        channels_in, channels_out, taps = self.weight.shape
        channels_out = next_multiple(channels_out, outputs)
        self.weight = zero_padded(self.weight, next_multiple(channels_in, inputs), channels_out, taps)
        self.bias = zero_padded(self.bias, channels_out)

    def forward(self, x: Tensor, state: State) -> Tensor:
        """See the class: each pair of neighbouring steps gives r steps."""
        steps, channels = x.shape[2] * self.rate, len(self.bias)
        x, trim = state.timeline.upsampled(self, x, self.rate, self.trim, self.short)
        taps = self.weight.reshape(-1, channels, 2, self.rate).flip(2).to(x.dtype)
        y = self._product(x, taps) if self.as_product else self._convolution(x, taps)
        return y.narrow(2, trim, steps) if trim else y

    def _product(self, x: Tensor, taps: Tensor) -> Tensor:
        """[B, C, T + 1] -> [B, C', T * r] as one matrix product, which reads each weight once."""
        channels_in, channels, _, rate = taps.shape
        columns = neighbours(x.transpose(1, 2), x.shape[2] - 1, 2)
        matrix = taps.permute(2, 0, 3, 1).reshape(2 * channels_in, rate * channels)
        y = product(columns, matrix, self.bias.repeat(rate))
        return y.reshape(x.shape[0], -1, channels).transpose(1, 2)

    def _convolution(self, x: Tensor, taps: Tensor) -> Tensor:
        """The same as a convolution with r * C' channels."""
        channels_in, channels, _, rate = taps.shape
        kernel = taps.permute(1, 3, 0, 2).reshape(channels * rate, channels_in, 2)
        y = functional.conv1d(x, kernel, self.bias.to(x.dtype).repeat_interleave(rate))
        return y.reshape(x.shape[0], channels, rate, -1).transpose(2, 3).flatten(2)


class ToAudio(nn.Module):
    """Convolution to one channel, in FP32: [B, C, T] -> [B, T]; ``weight`` is [1, C, kernel]."""

    def __init__(self, channels: int, kernel: int):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(1, channels, kernel))
        self.bias = nn.Parameter(torch.empty(1))
        self.padding = LookAhead.of(kernel)

    def reach(self, past: int, future: int) -> Reach:
        """See :class:`tritone_build.layers.reach.HasReach`."""
        return past + self.padding.left, future + self.padding.right

    def forward(self, x: Tensor, state: State) -> Tensor:
        """[B, C, T] -> [B, T], multiplied first, then summed over neighbouring steps."""
        steps, kernel = x.shape[2], self.weight.shape[2]
        parts = self.weight[0].T @ widened(self.padding(self, x, state))
        return sum((parts[:, n, n : n + steps] for n in range(kernel)), self.bias)
