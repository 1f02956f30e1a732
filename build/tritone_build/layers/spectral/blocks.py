"""A convolution with its activation, and the residual block of the spectral codec's two networks."""

from dataclasses import dataclass
from fractions import Fraction
from typing import TypeAlias

from torch import Tensor, nn

from tritone_build.layers.channels import padded_alike
from tritone_build.layers.conv import Causal, Centred, Conv1d, Padding, UpsampleConv1d
from tritone_build.layers.reach import Reach, reach_of
from tritone_build.layers.snake import HalfSnake, LeakyReLU
from tritone_build.state import State

__all__ = ["ConvLayer", "ResidualBlock", "Style"]

Activation: TypeAlias = HalfSnake | LeakyReLU


@dataclass(frozen=True)
class Style:
    """What the convolutions of a network have in common.

    A causal network pads with zeros and has :class:`HalfSnake` activations. One that looks ahead pads with
    the first and the last step and has :class:`LeakyReLU`. ``few_steps`` is as in :class:`Conv1d`.
    """

    causal: bool
    few_steps: bool = False

    def conv(self, channels_in: int, channels_out: int, kernel_size: int, stride: int = 1) -> Conv1d:
        """A convolution; one with a stride is not causal."""
        padding: Padding = Causal.of(kernel_size)
        if not self.causal:
            width = (kernel_size - 1) // 2
            padding = Centred(width, width, "replicate")
        return Conv1d(channels_in, channels_out, kernel_size, padding, stride, few_steps=self.few_steps)

    def activation(self, channels: int) -> Activation:
        """An activation."""
        return HalfSnake(channels) if self.causal else LeakyReLU(channels)


class ConvLayer(nn.Module):
    """A convolution, then an activation unless it is None; [B, C, T] -> [B, C', T * rate]."""

    def __init__(self, conv: Conv1d | UpsampleConv1d, activation: Activation | None = None):
        super().__init__()
        self.conv, self.activation = conv, activation

    @property
    def rate_change(self) -> Fraction:
        """Output steps per input step."""
        return self.conv.rate_change

    def reach(self, past: int, future: int) -> Reach:
        """See :class:`tritone_build.layers.reach.HasReach`."""
        return self.conv.reach(past, future)

    def pad_channels(self, inputs: int, outputs: int) -> None:
        """See :class:`tritone_build.layers.channels.PadsChannels`."""
        self.conv.pad_channels(inputs, outputs)

    def forward(self, x: Tensor, state: State) -> Tensor:
        """See the class."""
        y: Tensor = self.conv(x, state)
        return y if self.activation is None else self.activation(y)


class ResidualBlock(nn.Module):
    """act(x + conv(act(conv(x)))) with ``filters`` channels between the convolutions; [B, C, T] -> [B, C, T].

    After NeMo's ResidualBlockV2.
    """

    def __init__(self, style: Style, channels: int, filters: int, kernel_size: int):
        super().__init__()
        self.input_conv = ConvLayer(style.conv(channels, filters, kernel_size), style.activation(filters))
        self.skip_conv = ConvLayer(style.conv(filters, channels, kernel_size))
        self.output_activation = style.activation(channels)

    def reach(self, past: int, future: int) -> Reach:
        """See :class:`tritone_build.layers.reach.HasReach`."""
        return reach_of([self.input_conv, self.skip_conv], past, future)

    def pad_channels(self, inputs: int, outputs: int) -> None:
        """See :class:`tritone_build.layers.channels.PadsChannels`."""
        multiple = padded_alike(self, inputs, outputs)
        for layer in (self.input_conv, self.skip_conv):
            layer.pad_channels(multiple, multiple)

    def forward(self, x: Tensor, state: State) -> Tensor:
        """[B, C, T] -> [B, C, T]."""
        y: Tensor = self.output_activation(x + self.skip_conv(self.input_conv(x, state), state))
        return y
