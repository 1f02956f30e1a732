"""Causal convolutions as one matrix product, over [B, T, C].

A live step has few frames and many weights, so its time goes into reading weights. One matrix product over
all rows and steps of a batch reads each weight once; a convolution reads it once per row. Strides and
upsampling become reshapes, which cost nothing::

    x, stride 1, kernel 3      t-2 t-1 | t      -> [C of t-2, C of t-1, C of t] @ [3 C, C']
    stride s, kernel 2 s       block b-1 | block b  -> [s C of b-1, s C of b]   @ [2 s C, C']
    upsampling r, kernel 2 r   t-1 | t      -> [C of t-1, C of t] @ [2 C, r C']  -> r steps of C'
"""

from fractions import Fraction

import torch
from torch import Tensor, nn

from tritone_build.layers.channels import next_multiple, zero_padded
from tritone_build.layers.reach import Reach
from tritone_build.state import Edge, State

__all__ = ["DepthwiseUpsample", "UnfoldedConv1d", "UnfoldedUpsample", "neighbours", "product"]


def neighbours(x: Tensor, steps: int, count: int, dilation: int = 1) -> Tensor:
    """[B, steps + (count - 1) * dilation, C] -> [B, steps, count * C]: each step with those after it.

    A single gather: slices that are concatenated again would copy everything twice.
    """
    if count == 1:
        return x
    index = torch.arange(steps)[:, None] + dilation * torch.arange(count)
    return x.index_select(1, index.flatten()).reshape(x.shape[0], steps, count * x.shape[2])


def product(x: Tensor, matrix: Tensor, bias: Tensor | None) -> Tensor:
    """[B, T, C] @ [C, C'] + [C'], over all rows and steps at once."""
    flat, matrix = x.flatten(0, 1), matrix.to(x.dtype)
    y = flat @ matrix if bias is None else torch.addmm(bias.to(x.dtype), flat, matrix)
    return y.reshape(x.shape[0], x.shape[1], -1)


class UnfoldedConv1d(nn.Module):
    """Causal convolution, its kernel a multiple of its stride: [B, T, C] -> [B, T / stride, C'].

    ``weight`` is [C', C, kernel], as in ``nn.Conv1d``. A convolution with a stride has no dilation.
    """

    def __init__(
        self,
        channels_in: int,
        channels_out: int,
        kernel: int,
        stride: int = 1,
        bias: bool = True,
        edge: Edge = "zeros",
        dilation: int = 1,
    ):
        super().__init__()
        assert dilation == 1 or stride == 1
        self.weight = nn.Parameter(torch.empty(channels_out, channels_in, kernel))
        self.bias = nn.Parameter(torch.empty(channels_out)) if bias else None
        self.stride, self.edge, self.dilation = stride, edge, dilation

    @property
    def width(self) -> int:
        """Earlier input steps that an output step sees."""
        return (self.weight.shape[2] - self.stride) * self.dilation

    @property
    def rate_change(self) -> Fraction:
        """Output steps per input step."""
        return Fraction(1, self.stride)

    def reach(self, past: int, future: int) -> Reach:
        """See :class:`tritone_build.layers.reach.HasReach`."""
        return past * self.stride + self.width, future * self.stride + self.stride - 1

    def pad_channels(self, inputs: int, outputs: int) -> None:
        """See :class:`tritone_build.layers.channels.PadsChannels`."""
        channels_out, channels_in, kernel = self.weight.shape
        channels_out = next_multiple(channels_out, outputs)
        self.weight = zero_padded(self.weight, channels_out, next_multiple(channels_in, inputs), kernel)
        if self.bias is not None:
            self.bias = zero_padded(self.bias, channels_out)

    def matrix(self) -> Tensor:
        """The weight as [kernel * C, C'], earliest step first."""
        return self.weight.permute(2, 1, 0).reshape(-1, self.weight.shape[0])

    def forward(self, x: Tensor, state: State) -> Tensor:
        """[B, T, C] -> [B, T / stride, C']."""
        kernel, blocks = self.weight.shape[2], x.shape[1] // self.stride
        x = state.extend(self, x, self.width, axis=1, edge=self.edge)
        x = x.reshape(x.shape[0], -1, self.stride * x.shape[2])
        count = kernel // self.stride
        if count * self.weight.shape[0] < x.shape[2]:
            return self._summed(x, blocks, count)
        return product(neighbours(x, blocks, count, self.dilation), self.matrix(), self.bias)

    def _summed(self, x: Tensor, steps: int, count: int) -> Tensor:
        """For few output channels: multiply first, then add the contributions of neighbouring steps."""
        size = self.weight.shape[0]
        matrix = self.matrix().reshape(count, -1, size).transpose(0, 1).reshape(-1, count * size)
        parts = product(x, matrix, None)
        first, *others = (
            parts.narrow(1, n * self.dilation, steps).narrow(2, n * size, size) for n in range(count)
        )
        y = sum(others, first)
        return y if self.bias is None else y + self.bias.to(x.dtype)


class _Upsample(nn.Module):
    """Base of causal upsampling with kernel 2r and stride r."""

    def __init__(self, rate: int):
        super().__init__()
        self.rate = rate

    @property
    def rate_change(self) -> Fraction:
        """Output steps per input step."""
        return Fraction(self.rate)

    def reach(self, past: int, future: int) -> Reach:
        """See :class:`tritone_build.layers.reach.HasReach`; the maximum over the r phases."""
        return 1 - (-past // self.rate), (self.rate - 1 + future) // self.rate


class UnfoldedUpsample(_Upsample):
    """Causal transposed convolution with kernel 2r and stride r: [B, T, C] -> [B, T * r, C'].

    ``weight`` is [C, C', 2r], as in ``nn.ConvTranspose1d``.
    """

    def __init__(self, channels_in: int, channels_out: int, rate: int):
        super().__init__(rate)
        self.weight = nn.Parameter(torch.empty(channels_in, channels_out, 2 * rate))
        self.bias = nn.Parameter(torch.empty(channels_out))

    def pad_channels(self, inputs: int, outputs: int) -> None:
        """See :class:`tritone_build.layers.channels.PadsChannels`."""
        channels_in, channels_out, taps = self.weight.shape
        channels_out = next_multiple(channels_out, outputs)
        self.weight = zero_padded(self.weight, next_multiple(channels_in, inputs), channels_out, taps)
        self.bias = zero_padded(self.bias, channels_out)

    def matrix(self) -> Tensor:
        """The weight as [2 C, r * C'], earlier frame first."""
        channels_in, channels_out, _ = self.weight.shape
        taps = self.weight.reshape(channels_in, channels_out, 2, self.rate).flip(2)
        return taps.permute(2, 0, 3, 1).reshape(2 * channels_in, self.rate * channels_out)

    def forward(self, x: Tensor, state: State) -> Tensor:
        """[B, T, C] -> [B, T * r, C']."""
        steps = x.shape[1]
        x = state.extend(self, x, 1, axis=1)
        y = product(neighbours(x, steps, 2), self.matrix(), self.bias.repeat(self.rate))
        return y.reshape(y.shape[0], -1, self.weight.shape[1])


class DepthwiseUpsample(_Upsample):
    """Causal transposed convolution, kernel 2r and stride r, of each channel alone, without bias.

    ``weight`` is [C, 1, 2r]; [B, T, C] -> [B, T * r, C].
    """

    def __init__(self, channels: int, rate: int):
        super().__init__(rate)
        self.weight = nn.Parameter(torch.empty(channels, 1, 2 * rate))

    def forward(self, x: Tensor, state: State) -> Tensor:
        """[B, T, C] -> [B, T * r, C]."""
        steps, taps = x.shape[1], self.weight[:, 0].T.to(x.dtype)
        now, before = taps[: self.rate], taps[self.rate :]
        x = state.extend(self, x, 1, axis=1)
        y = x.narrow(1, 1, steps)[:, :, None] * now + x.narrow(1, 0, steps)[:, :, None] * before
        return y.flatten(1, 2)
