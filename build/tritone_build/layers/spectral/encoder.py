r"""The encoder of the spectral codec: spectra of the same audio at several time resolutions.

The first spectrum has the shortest transforms. Each later one has half as many steps, and joins the signal
where the rate has fallen to its own::

    audio -+- spectrum, conv, block --+--------- / 2, act --(+)-- act, block --- ... --- conv --- latent
           |                          (/ 2: convolution with stride 2)
           +- spectrum of half as many steps -- conv -------^

It looks ahead, so it carries no state.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from torch import Tensor, nn

from tritone_build.layers.reach import Reach, reach_of
from tritone_build.layers.snake import LeakyReLU
from tritone_build.layers.spectral.blocks import ConvLayer, ResidualBlock, Style
from tritone_build.layers.spectral.stft import LogSpectrum
from tritone_build.state import State

__all__ = ["EncoderConfig", "SpectralEncoder"]

_STYLE = Style(causal=False)


@dataclass(frozen=True)
class EncoderConfig:
    """An encoder; each resolution is (samples of a transform, hop, samples of the window).

    ``filters`` are the channels at each resolution. Then each of ``down_rates`` divides the rate, with
    ``down_filters`` channels from there on.
    """

    latent_dim: int
    resolutions: tuple[tuple[int, int, int], ...]
    filters: tuple[int, ...]
    down_filters: tuple[int, ...]
    down_rates: tuple[int, ...]
    kernel_size: int


def _down_sample(channels_in: int, channels_out: int, rate: int) -> ConvLayer:
    conv = _STYLE.conv(channels_in, channels_out, 2 * rate + 1, rate)
    return ConvLayer(conv, _STYLE.activation(channels_out))


class SpectrumBlock(nn.Module):
    """Halves the rate and adds the spectrum that has that rate; [B, C, T], audio -> [B, C', T / 2]."""

    def __init__(self, resolution: tuple[int, int, int], channels: int, filters: int, kernel_size: int):
        super().__init__()
        self.down_sample_conv = _down_sample(channels, filters, 2)
        self.spec_processor = LogSpectrum(*resolution)
        self.spec_conv = ConvLayer(_STYLE.conv(self.spec_processor.bins, filters, kernel_size))
        self.spec_act = LeakyReLU(filters)
        self.res_block = ResidualBlock(_STYLE, filters, filters, kernel_size)

    def reaches(self, reach: Reach) -> tuple[Reach, Reach]:
        """The reach in the signal that comes in, and in the audio, given that at the output."""
        joined = reach_of([self.res_block], *reach)
        spectrum = [self.spec_processor, self.spec_conv]
        return reach_of([self.down_sample_conv], *joined), reach_of(spectrum, *joined)

    def forward(self, x: Tensor, audio: Tensor, state: State) -> Tensor:
        """See the class."""
        spectrum = self.spec_conv(self.spec_processor(audio), state)
        y: Tensor = self.res_block(self.spec_act(self.down_sample_conv(x, state) + spectrum), state)
        return y


class DownSampleBlock(nn.Module):
    """Divides the rate; [B, C, T] -> [B, C', T / rate]."""

    def __init__(self, channels: int, filters: int, rate: int, kernel_size: int):
        super().__init__()
        self.down_sample_conv = _down_sample(channels, filters, rate)
        self.res_block = ResidualBlock(_STYLE, filters, filters, kernel_size)

    def forward(self, x: Tensor, state: State) -> Tensor:
        """See the class."""
        y: Tensor = self.res_block(self.down_sample_conv(x, state), state)
        return y


class SpectralEncoder(nn.Module):
    """Audio [B, 1, S], S a multiple of the hop, -> latent [B, D, T]."""

    def __init__(self, config: EncoderConfig):
        super().__init__()
        kernel, channels = config.kernel_size, config.filters[0]
        self.pre_spec_processor = LogSpectrum(*config.resolutions[0])
        bins = self.pre_spec_processor.bins
        self.pre_conv = ConvLayer(_STYLE.conv(bins, channels, kernel), _STYLE.activation(channels))
        self.pre_res_block = ResidualBlock(_STYLE, channels, channels, kernel)
        self.stft_blocks, self.down_sample_blocks = nn.ModuleList(), nn.ModuleList()
        for resolution, filters in zip(config.resolutions[1:], config.filters[1:], strict=True):
            self.stft_blocks.append(SpectrumBlock(resolution, channels, filters, kernel))
            channels = filters
        for filters, rate in zip(config.down_filters, config.down_rates, strict=True):
            self.down_sample_blocks.append(DownSampleBlock(channels, filters, rate, kernel))
            channels = filters
        self.post_conv = ConvLayer(_STYLE.conv(channels, config.latent_dim, kernel))

    def spectra(self) -> Iterator[tuple[str, LogSpectrum]]:
        """The spectra and their names."""
        return ((name, each) for name, each in self.named_modules() if isinstance(each, LogSpectrum))

    def reach_samples(self) -> Reach:
        """Samples before and after the first sample of a frame that influence it, by any of the spectra."""
        reach = reach_of([self.post_conv])
        for block in reversed(self.down_sample_blocks):
            reach = reach_of(block.children(), *reach)
        found = []
        for block in reversed(self.stft_blocks):
            assert isinstance(block, SpectrumBlock)
            reach, heard = block.reaches(reach)
            found.append(heard)
        found.append(reach_of([self.pre_spec_processor, self.pre_conv, self.pre_res_block], *reach))
        return max(past for past, _ in found), max(future for _, future in found)

    def forward(self, audio: Tensor, state: State) -> Tensor:
        """[B, 1, S] -> [B, D, T]."""
        x = self.pre_res_block(self.pre_conv(self.pre_spec_processor(audio), state), state)
        for block in self.stft_blocks:
            x = block(x, audio, state)
        for block in self.down_sample_blocks:
            x = block(x, state)
        latent: Tensor = self.post_conv(x, state)
        return latent
