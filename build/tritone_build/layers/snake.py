"""Activations of codecs in the style of HiFi-GAN."""

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from tritone_build.layers.channels import padded_alike
from tritone_build.layers.wide import widened

__all__ = ["HalfSnake", "LeakyReLU", "Snake", "SnakeBeta"]

_EPSILON = 1e-9
_SLOPE = 0.01


class LeakyReLU(nn.Module):
    """x if positive, else x / 100; ``channels`` is unused, for the same signature as :class:`HalfSnake`."""

    def __init__(self, channels: int):
        super().__init__()

    def pad_channels(self, inputs: int, outputs: int) -> None:
        """See :class:`tritone_build.layers.channels.PadsChannels`."""
        padded_alike(self, inputs, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Any shape."""
        return functional.leaky_relu(x, _SLOPE)


class Snake(nn.Module):
    """x + sin(alpha x)^2 / alpha with a learned alpha per channel (Liu et al. 2020, arXiv 2006.08195).

    [B, C, T] -> [B, C, T]; ``alpha`` is [1, C, 1].
    """

    def __init__(self, channels: int):
        super().__init__()
        self.alpha = nn.Parameter(torch.empty(1, channels, 1))

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, T] -> [B, C, T]."""
        wide = widened(x)
        sine = torch.sin(self.alpha * wide)
        return (wide + (self.alpha + _EPSILON).reciprocal() * (sine * sine)).to(x.dtype)


class HalfSnake(nn.Module):
    """Snake on the first half of the channels, leaky ReLU on the rest; [B, C, T] -> [B, C, T].

    Snake is x + sin(alpha x)^2 / alpha with a learned alpha per channel (Liu et al. 2020,
    arXiv 2006.08195); the halving is NeMo's (nemo/collections/common/parts/utils.py, HalfSnake).
    """

    def __init__(self, channels: int):
        super().__init__()
        self.alpha = nn.Parameter(torch.empty(1, channels // 2, 1))

    def pad_channels(self, inputs: int, outputs: int) -> None:
        """See :class:`tritone_build.layers.channels.PadsChannels`; what is appended gets the leaky ReLU."""
        padded_alike(self, inputs, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, T] -> [B, C, T]."""
        snakes = self.alpha.shape[1]
        snaked, rest = torch.split(x, [snakes, x.shape[1] - snakes], 1)
        wide = widened(snaked)
        wide = wide + (self.alpha + _EPSILON).reciprocal() * torch.sin(self.alpha * wide).square()
        return torch.cat([wide.to(x.dtype), functional.leaky_relu(rest, _SLOPE)], dim=1)


class SnakeBeta(nn.Module):
    """x + sin(a x)^2 / b with a = exp(alpha) and b = exp(beta) per channel, along the axis ``channel_axis``.

    After SnakeBeta of NVIDIA's BigVGAN (Lee et al. 2023, arXiv 2206.04658), as in
    qwen_tts/core/tokenizer_12hz/modeling_qwen3_tts_tokenizer_v2.py of qwen-tts 0.1.1.
    """

    def __init__(self, channels: int, channel_axis: Literal[1, 2]):
        super().__init__()
        self.alpha = nn.Parameter(torch.empty(channels))
        self.beta = nn.Parameter(torch.empty(channels))
        self.shape = (-1, 1) if channel_axis == 1 else (-1,)

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, T] or [B, T, C]."""
        scale, gain = self.alpha.exp(), (self.beta.exp() + _EPSILON).reciprocal()
        wide = widened(x)
        sine = torch.sin(scale.reshape(self.shape) * wide)
        wide = wide + gain.reshape(self.shape) * (sine * sine)  # ONNX Runtime's Pow takes four times as long
        return wide.to(x.dtype)
