"""Padded convolutions over time, whose weights have the published layout."""

from dataclasses import dataclass
from fractions import Fraction
from typing import Literal, Protocol, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn import functional

from tritone_build.layers.channels import next_multiple, zero_padded
from tritone_build.layers.reach import Reach
from tritone_build.layers.unfolded import neighbours, product
from tritone_build.layers.wide import widened
from tritone_build.state import State

__all__ = ["Causal", "Centred", "Conv1d", "LookAhead", "PadMode", "Padding", "UpsampleConv1d"]

_MANY_WEIGHTS = 400_000
"""From this number of weights on, the time of a live step goes into reading them."""

PadMode: TypeAlias = Literal["zeros", "replicate", "reflect"]


class Padding(Protocol):
    """How a layer pads a signal: ``left`` steps before it and ``right`` steps after it."""

    @property
    def left(self) -> int:
        """Padded steps before the signal."""
        ...

    @property
    def right(self) -> int:
        """Padded steps after the signal."""
        ...

    @property
    def fewest_steps(self) -> int:
        """Length of the shortest signal that can be padded."""
        ...

    def __call__(self, layer: nn.Module, x: Tensor, state: State) -> Tensor:
        """Pad the last axis of ``x`` for ``layer``."""
        ...


@dataclass(frozen=True)
class Causal:
    """Padding on the left only, with the past of the stream: an output step needs no later step."""

    left: int
    right: int = 0
    fewest_steps: int = 1

    @classmethod
    def of(cls, kernel_size: int, dilation: int = 1) -> "Causal":
        """Padding of a convolution with stride 1."""
        return cls((kernel_size - 1) * dilation)

    def __call__(self, layer: nn.Module, x: Tensor, state: State) -> Tensor:
        """See :class:`Padding`."""
        return state.extend(layer, x, self.left)


@dataclass(frozen=True)
class Centred:
    """Padding on both sides of the whole signal: the layer looks ahead, so it carries no state."""

    left: int
    right: int
    mode: PadMode

    @classmethod
    def of(cls, kernel_size: int, mode: PadMode, stride: int = 1, dilation: int = 1) -> "Centred":
        """Padding of NeMo's Conv1dNorm, equal on both sides; half of kernel - stride, rounded up."""
        width = ((kernel_size - 1) * dilation) // 2 if stride == 1 else (kernel_size - stride + 1) // 2
        return cls(width, width, mode)

    @property
    def fewest_steps(self) -> int:
        """A reflection needs one step more than it pads."""
        return self.left + 1 if self.mode == "reflect" else 1

    def __call__(self, layer: nn.Module, x: Tensor, state: State) -> Tensor:
        """See :class:`Padding`."""
        mode = "constant" if self.mode == "zeros" else self.mode
        return functional.pad(x, (self.left, self.right), mode=mode)


@dataclass(frozen=True)
class LookAhead:
    """Zeros on both sides of a signal; in a stream the layer answers late, see ``tritone_build.timeline``."""

    left: int
    right: int
    stride: int = 1
    fewest_steps: int = 1

    @classmethod
    def of(cls, kernel_size: int, stride: int = 1, dilation: int = 1) -> "LookAhead":
        """Half of what T steps lack for T / stride results on each side; on the left the larger half."""
        width = (kernel_size - stride) * dilation
        return cls((width + 1) // 2, width // 2, stride)

    def __call__(self, layer: nn.Module, x: Tensor, state: State) -> Tensor:
        """See :class:`Padding`."""
        return state.timeline.surround(layer, x, self.left, self.right, self.stride)


class Conv1d(nn.Module):
    """Padded convolution [B, C, T] -> [B, C', T / stride]; ``weight`` is [C', C, kernel].

    ``few_steps`` says that a live step has only a few time steps here. ONNX Runtime and PyTorch compute a
    convolution over so few steps with up to 6 dB more rounding error than a matrix product, and slower.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        padding: Padding,
        stride: int = 1,
        dilation: int = 1,
        few_steps: bool = False,
    ):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(out_channels, in_channels, kernel_size))
        self.bias = nn.Parameter(torch.empty(out_channels))
        self.padding, self.stride, self.dilation = padding, stride, dilation
        self.as_product = stride == 1 and (few_steps or self.weight.numel() >= _MANY_WEIGHTS)

    @property
    def rate_change(self) -> Fraction:
        """Output steps per input step."""
        return Fraction(1, self.stride)

    @property
    def fewest_steps(self) -> int:
        """Fewest steps that the padding takes."""
        return self.padding.fewest_steps

    def reach(self, past: int, future: int) -> Reach:
        """See :class:`tritone_build.layers.reach.HasReach`."""
        width = (self.weight.shape[2] - 1) * self.dilation
        return past * self.stride + self.padding.left, future * self.stride + width - self.padding.left

    def pad_channels(self, inputs: int, outputs: int) -> None:
        """See :class:`tritone_build.layers.channels.PadsChannels`."""
        channels_out, channels_in, kernel = self.weight.shape
        channels_out = next_multiple(channels_out, outputs)
        self.weight = zero_padded(self.weight, channels_out, next_multiple(channels_in, inputs), kernel)
        self.bias = zero_padded(self.bias, channels_out)

    def forward(self, x: Tensor, state: State) -> Tensor:
        """[B, C, T] -> [B, C', T / stride]."""
        steps = x.shape[2] // self.stride
        x = self.padding(self, x, state)
        if self.as_product:
            return self._product(x, steps)
        weight, bias = self.weight.to(x.dtype), self.bias.to(x.dtype)
        return functional.conv1d(x, weight, bias, self.stride, dilation=self.dilation)

    def _product(self, x: Tensor, steps: int) -> Tensor:
        """Convolve as one matrix product over all rows, which reads each weight once, not once per row."""
        channels_out, _, kernel = self.weight.shape
        columns = neighbours(x.transpose(1, 2), steps, kernel, self.dilation)
        y = product(columns, self.weight.permute(2, 1, 0).reshape(-1, channels_out), self.bias)
        return y.transpose(1, 2)


class UpsampleConv1d(nn.Module):
    """Transposed convolution with kernel 2r and stride r, run as a convolution and a pixel shuffle.

    Each input frame fills two strides of output, so an output step depends on only two frames::

        frame t-1   |w0 ........ wr-1|wr ....... w2r-1|
        frame t                      |w0 ........ wr-1|wr ....... w2r-1|
        output                       |   r steps of t  |

    A convolution with kernel 2 over (t-1, t) computes these r steps as r channels. ``weight`` keeps the
    published layout of ``nn.ConvTranspose1d``, [C, C' / groups, 2r]. ``trim`` is the number of steps cut
    off at the start of the output; with 0 the layer is causal. A padded layer (:meth:`pad_channels`) ignores
    channels of the input beyond C and appends ``zeros_after`` channels of zeros to the output.

    [B, C, T] -> [B, C', T * r].
    """

    def __init__(self, in_channels: int, out_channels: int, rate: int, groups: int = 1, trim: int = 0):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(in_channels, out_channels // groups, 2 * rate))
        self.bias = nn.Parameter(torch.empty(out_channels))
        self.rate, self.groups, self.trim, self.zeros_after = rate, groups, trim, 0
        self.padding: Padding = Centred(1, 1, "zeros") if trim else Causal(1)

    @property
    def rate_change(self) -> Fraction:
        """Output steps per input step."""
        return Fraction(self.rate)

    def reach(self, past: int, future: int) -> Reach:
        """See :class:`tritone_build.layers.reach.HasReach`; the maximum over the r phases."""
        return 1 - (self.trim - past) // self.rate, (self.rate - 1 + future + self.trim) // self.rate

    def pad_channels(self, inputs: int, outputs: int) -> None:
        """See :class:`tritone_build.layers.channels.PadsChannels`.

        A group keeps its channels. Groups of zeros are added as far as input and output have room for them.
        """
        channels_in, per_group, taps = self.weight.shape
        wanted_in, wanted_out = next_multiple(channels_in, inputs), next_multiple(len(self.bias), outputs)
        if self.groups == 1:
            channels_in, per_group = wanted_in, wanted_out
        else:
            group_in = channels_in // self.groups
            self.groups = min(wanted_in // group_in, wanted_out // per_group)
            channels_in = self.groups * group_in
        self.weight = zero_padded(self.weight, channels_in, per_group, taps)
        self.bias = zero_padded(self.bias, self.groups * per_group)
        self.zeros_after = wanted_out - len(self.bias)

    def kernel(self) -> Tensor:
        """The weight as a convolution's: [C' * r, C / groups, 2], earlier frame first."""
        channels_in, per_group, _ = self.weight.shape
        taps = self.weight.reshape(self.groups, channels_in // self.groups, per_group, 2, self.rate)
        return taps.permute(0, 2, 4, 1, 3).flip(-1).reshape(-1, channels_in // self.groups, 2)

    def forward(self, x: Tensor, state: State) -> Tensor:
        """[B, C, T] -> [B, C', T * r]."""
        steps = x.shape[2] * self.rate
        if x.shape[1] > self.weight.shape[0]:
            x = x.narrow(1, 0, self.weight.shape[0])
        dtype, x = x.dtype, self.padding(self, x, state)
        if self.groups > 1:  # a grouped one costs little, and the whole signal passes it: FP32
            x = widened(x)
        kernel, bias = self.kernel().to(x.dtype), self.bias.to(x.dtype).repeat_interleave(self.rate)
        y = functional.conv1d(x, kernel, bias, groups=self.groups).to(dtype)
        y = y.reshape(y.shape[0], -1, self.rate, y.shape[2]).transpose(2, 3).flatten(2)
        if self.zeros_after:
            y = functional.pad(y, (0, 0, 0, self.zeros_after))
        return y[..., self.trim : self.trim + steps] if self.trim else y
