"""The decoder of the spectral codec: most residual blocks run at a low rate, before the upsampling."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain

from torch import Tensor, nn

from tritone_build.layers.conv import UpsampleConv1d
from tritone_build.layers.hifigan import FEW_STEPS
from tritone_build.layers.spectral.blocks import ConvLayer, ResidualBlock, Style
from tritone_build.state import State

__all__ = ["DecoderConfig", "SpectralDecoder"]


@dataclass(frozen=True)
class DecoderConfig:
    """A causal decoder.

    ``pre_rates`` raise the rate before the ``hidden_blocks`` blocks of ``hidden_filters``, ``rates`` after
    them. Each rate has the number of channels from there on (``pre_filters``, ``filters``).
    """

    latent_dim: int
    channels: int
    pre_rates: tuple[int, ...]
    pre_filters: tuple[int, ...]
    hidden_blocks: int
    hidden_filters: int
    rates: tuple[int, ...]
    filters: tuple[int, ...]
    kernel_size: int
    last_kernel_size: int


def _style(steps_per_frame: int) -> Style:
    return Style(causal=True, few_steps=steps_per_frame <= FEW_STEPS)


def _up_sample(channels_in: int, channels_out: int, rate: int) -> ConvLayer:
    """Each channel of the output has a group of the input's channels for itself."""
    conv = UpsampleConv1d(channels_in, channels_out, rate, groups=channels_out)
    return ConvLayer(conv, Style(causal=True).activation(channels_out))


class SpectralDecoder(nn.Module):
    """Latent [B, D, T] -> audio [B, T * hop] within -1..1; causal."""

    def __init__(self, config: DecoderConfig):
        super().__init__()
        channels, steps, kernel = config.channels, 1, config.kernel_size
        self.pre_conv = ConvLayer(_style(steps).conv(config.latent_dim, channels, kernel))
        self.pre_resblocks, self.pre_up_sample_layers = nn.ModuleList(), nn.ModuleList()
        for rate, filters in zip(config.pre_rates, config.pre_filters, strict=True):
            self.pre_resblocks.append(ResidualBlock(_style(steps), channels, 2 * channels, kernel))
            self.pre_up_sample_layers.append(_up_sample(channels, filters, rate))
            channels, steps = filters, steps * rate
        self.conv_layers = nn.ModuleList(
            ResidualBlock(_style(steps), channels, config.hidden_filters, kernel)
            for _ in range(config.hidden_blocks)
        )
        self.resblock_up_sample_layers, self.resblocks = nn.ModuleList(), nn.ModuleList()
        kernel = config.last_kernel_size
        for rate, filters in zip(config.rates, config.filters, strict=True):
            self.resblock_up_sample_layers.append(_up_sample(channels, filters, rate))
            channels, steps = filters, steps * rate
            self.resblocks.append(ResidualBlock(_style(steps), channels, 2 * channels, kernel))
        self.post_conv = ConvLayer(_style(steps).conv(channels, 1, kernel))

    def chain(self) -> Iterator[nn.Module]:
        """The layers in the order in which they run."""
        yield self.pre_conv
        yield from chain(*zip(self.pre_resblocks, self.pre_up_sample_layers, strict=True))
        yield from self.conv_layers
        yield from chain(*zip(self.resblock_up_sample_layers, self.resblocks, strict=True))
        yield self.post_conv

    def forward(self, latent: Tensor, state: State) -> Tensor:
        """[B, D, T] -> [B, T * hop]."""
        x = latent
        for layer in self.chain():
            x = layer(x, state)
        return x[:, 0].clamp(-1, 1)
