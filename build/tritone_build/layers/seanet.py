"""The SEANet encoder and decoder of Mimi (Défossez et al. 2024, arXiv 2410.00037), over [B, T, C].

After moshi/modules/seanet.py of Kyutai's moshi 0.2.13: causal, ELU, one residual block per stage.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from tritone_build.layers.channels import padded_alike
from tritone_build.layers.unfolded import UnfoldedConv1d, UnfoldedUpsample
from tritone_build.layers.wide import widened
from tritone_build.state import State

__all__ = ["SeanetConfig", "SeanetDecoder", "SeanetEncoder"]

_NEGLIGIBLE = -80.0
"""Below this x, exp(x) is negligible beside 1."""


@dataclass(frozen=True)
class SeanetConfig:
    """``ratios`` are the upsampling rates in the decoder's order; the encoder takes them reversed."""

    dim: int
    base_channels: int
    ratios: tuple[int, ...]
    kernel_size: int
    last_kernel_size: int
    residual_kernel_size: int
    compress: int


def elu(x: Tensor) -> Tensor:
    """ELU in four operations, because ONNX Runtime's own Elu takes 2.5 times as long."""
    wide = widened(x)
    return torch.maximum(wide, wide.clamp(_NEGLIGIBLE, 0.0).exp() - 1).to(x.dtype)


class ResidualBlock(nn.Module):
    """x + pointwise(elu(conv(elu x))); [B, T, C] -> [B, T, C]."""

    def __init__(self, config: SeanetConfig, channels: int):
        super().__init__()
        hidden = channels // config.compress
        self.conv = UnfoldedConv1d(channels, hidden, config.residual_kernel_size)
        self.pointwise = UnfoldedConv1d(hidden, channels, 1)

    def reach(self, past: int, future: int) -> tuple[int, int]:
        """See :class:`tritone_build.layers.reach.HasReach`."""
        return self.conv.reach(past, future)

    def pad_channels(self, inputs: int, outputs: int) -> None:
        """See :class:`tritone_build.layers.channels.PadsChannels`."""
        multiple = padded_alike(self, inputs, outputs)
        self.conv.pad_channels(multiple, multiple)
        self.pointwise.pad_channels(multiple, multiple)

    def forward(self, x: Tensor, state: State) -> Tensor:
        """[B, T, C] -> [B, T, C]."""
        added: Tensor = self.pointwise(elu(self.conv(elu(x), state)), state)
        return x + added


class SeanetEncoder(nn.Module):
    """Audio [B, S, 1] -> [B, S / hop, D]; channels double as the rate falls."""

    def __init__(self, config: SeanetConfig):
        super().__init__()
        channels = config.base_channels
        self.first = UnfoldedConv1d(1, channels, config.kernel_size)
        self.residuals, self.downs = nn.ModuleList(), nn.ModuleList()
        for ratio in reversed(config.ratios):
            self.residuals.append(ResidualBlock(config, channels))
            self.downs.append(UnfoldedConv1d(channels, 2 * channels, 2 * ratio, ratio))
            channels *= 2
        self.last = UnfoldedConv1d(channels, config.dim, config.last_kernel_size)

    def chain(self) -> Iterator[nn.Module]:
        """The layers in the order in which they run."""
        yield self.first
        for stage in zip(self.residuals, self.downs, strict=True):
            yield from stage
        yield self.last

    def forward(self, x: Tensor, state: State) -> Tensor:
        """[B, S, 1] -> [B, S / hop, D]."""
        x = self.first(x, state)
        for residual, down in zip(self.residuals, self.downs, strict=True):
            x = down(elu(residual(x, state)), state)
        last: Tensor = self.last(elu(x), state)
        return last


class SeanetDecoder(nn.Module):
    """[B, T, D] -> audio [B, T * hop, 1]; channels halve as the rate rises."""

    def __init__(self, config: SeanetConfig):
        super().__init__()
        channels = config.base_channels << len(config.ratios)
        self.first = UnfoldedConv1d(config.dim, channels, config.kernel_size)
        self.ups, self.residuals = nn.ModuleList(), nn.ModuleList()
        for ratio in config.ratios:
            self.ups.append(UnfoldedUpsample(channels, channels // 2, ratio))
            channels //= 2
            self.residuals.append(ResidualBlock(config, channels))
        self.last = UnfoldedConv1d(channels, 1, config.last_kernel_size)

    def chain(self) -> Iterator[nn.Module]:
        """The layers in the order in which they run."""
        yield self.first
        for stage in zip(self.ups, self.residuals, strict=True):
            yield from stage
        yield self.last

    def forward(self, x: Tensor, state: State) -> Tensor:
        """[B, T, D] -> [B, T * hop, 1]."""
        x = self.first(x, state)
        for up, residual in zip(self.ups, self.residuals, strict=True):
            x = residual(up(elu(x), state), state)
        last: Tensor = self.last(elu(x), state)
        return last
