"""The encoder and decoder of the Descript Audio Codec (Kumar et al. 2023, arXiv 2306.06546) and of SNAC.

After dac/model/dac.py of descript-audio-codec 1.0.0 and, for SNAC (Siuzdak et al. 2024, arXiv 2410.14411),
snac/layers.py of snac 1.2.1. All convolutions pad with zeros on both sides, so the networks look ahead; in
streams they answer late (see :mod:`tritone_build.timeline`).

Modules carry the names that transformers gives DAC (models/dac/modeling_dac.py).
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from math import ceil, prod

import torch
from torch import Tensor, nn

from tritone_build.layers.ahead.attention import LocalAttention
from tritone_build.layers.ahead.conv import DepthwiseAhead, ToAudio, UpsampleAhead, conv_ahead
from tritone_build.layers.ahead.noise import Noise
from tritone_build.layers.conv import Causal, Conv1d
from tritone_build.layers.reach import Reach, reach_of
from tritone_build.layers.snake import Snake
from tritone_build.state import State

__all__ = ["DacConfig", "DacDecoder", "DacEncoder", "Late", "late"]

_KERNEL = 7
_DILATIONS = (1, 3, 9)
_FEW_STEPS = 64
"""Steps of a frame up to which a layer is computed as a matrix product."""


@dataclass(frozen=True)
class DacConfig:
    """An encoder and its decoder.

    Args:
        latent_dim: channels between encoder and decoder.
        latent_rate: steps of the latent in one frame.
        encoder_channels: channels after the encoder's first layer; they double at each rate.
        encoder_rates: strides of the encoder, in order.
        decoder_channels: channels before the decoder's first block; they halve at each rate.
        decoder_rates: upsampling rates of the decoder, in order.
        depthwise: whether residual units and the outermost layers of the latent convolve each channel alone.
        complete: whether upsampling by an odd rate gives all steps; otherwise it lacks one at the end.
        bounded: whether the audio ends in a hyperbolic tangent.
        attention_window: steps of the latent that attend to each other; None without attention.
        noise: whether the decoder's blocks have a layer for noise.
        noise_frames: frames after which the noise repeats; 0 for a silent layer.
    """

    latent_dim: int
    latent_rate: int
    encoder_channels: int
    encoder_rates: tuple[int, ...]
    decoder_channels: int
    decoder_rates: tuple[int, ...]
    depthwise: bool = False
    complete: bool = False
    bounded: bool = True
    attention_window: int | None = None
    noise: bool = False
    noise_frames: int = 0

    @property
    def hop(self) -> int:
        """Samples per frame."""
        return self.latent_rate * prod(self.decoder_rates)

    def residual_conv(self, channels: int, dilation: int, steps: int) -> nn.Module:
        """The wide convolution of a residual unit whose frames have so many steps."""
        if self.depthwise:
            return DepthwiseAhead(channels, _KERNEL, dilation)
        return conv_ahead(channels, channels, _KERNEL, dilation, few_steps=steps <= _FEW_STEPS)


class ResidualUnit(nn.Module):
    """x + conv2(snake2(conv1(snake1(x)))), conv1 dilated; [B, C, T] -> [B, C, T]."""

    def __init__(self, config: DacConfig, channels: int, dilation: int, steps: int):
        super().__init__()
        self.snake1, self.snake2 = Snake(channels), Snake(channels)
        self.conv1 = config.residual_conv(channels, dilation, steps)
        self.conv2 = Conv1d(channels, channels, 1, Causal.of(1), few_steps=steps <= _FEW_STEPS)

    def reach(self, past: int, future: int) -> Reach:
        """See :class:`tritone_build.layers.reach.HasReach`."""
        return reach_of([self.conv1], past, future)

    def forward(self, x: Tensor, state: State) -> Tensor:
        """[B, C, T] -> [B, C, T]."""
        since = state.timeline.clock
        added: Tensor = self.conv2(self.snake2(self.conv1(self.snake1(x), state)), state)
        return state.timeline.delayed(self, x, since) + added


class _Block(nn.Module):
    """Three residual units, with dilations 1, 3 and 9."""

    def _add_units(self, config: DacConfig, channels: int, steps: int) -> None:
        for number, dilation in enumerate(_DILATIONS, 1):
            self.add_module(f"res_unit{number}", ResidualUnit(config, channels, dilation, steps))

    def units(self) -> list[nn.Module]:
        """The residual units in the order in which they run."""
        return [self.get_submodule(f"res_unit{number}") for number, _ in enumerate(_DILATIONS, 1)]

    def chain(self) -> list[nn.Module]:
        """The layers in the order in which they run."""
        raise NotImplementedError

    def reach(self, past: int, future: int) -> Reach:
        """See :class:`tritone_build.layers.reach.HasReach`."""
        return reach_of(self.chain(), past, future)


class EncoderBlock(_Block):
    """Residual units, Snake, and a convolution with a stride; [B, C, T] -> [B, 2 C, T / stride]."""

    def __init__(self, config: DacConfig, channels: int, stride: int, steps: int):
        super().__init__()
        self._add_units(config, channels, steps)
        self.snake1 = Snake(channels)
        self.conv1 = conv_ahead(channels, 2 * channels, 2 * stride, stride=stride)

    def chain(self) -> list[nn.Module]:
        """See the base class."""
        return [*self.units(), self.conv1]

    def forward(self, x: Tensor, state: State) -> Tensor:
        """See the class."""
        for unit in self.units():
            x = unit(x, state)
        y: Tensor = self.conv1(self.snake1(x), state)
        return y


class DecoderBlock(_Block):
    """Snake, upsampling, and residual units; [B, C, T] -> [B, C / 2, T * rate]."""

    def __init__(self, config: DacConfig, channels: int, rate: int, steps: int):
        super().__init__()
        half = channels // 2
        self.snake1 = Snake(channels)
        self.conv_t1 = UpsampleAhead(channels, half, rate, 0 if config.complete else rate % 2)
        self.noise = Noise(half, config.noise_frames * steps * rate) if config.noise else None
        self._add_units(config, half, steps * rate)

    def chain(self) -> list[nn.Module]:
        """See the base class."""
        return [self.conv_t1, *self.units()]

    def forward(self, x: Tensor, state: State) -> Tensor:
        """See the class."""
        x = self.conv_t1(self.snake1(x), state)
        if self.noise is not None:
            x = self.noise(x, state)
        for unit in self.units():
            x = unit(x, state)
        return x


class DacEncoder(nn.Module):
    """Audio [B, 1, S], S a multiple of the hop, -> latent [B, latent_rate * latent_dim, T].

    A frame's steps of the latent follow each other along the channels.
    """

    def __init__(self, config: DacConfig):
        super().__init__()
        self.config, channels, steps = config, config.encoder_channels, config.hop
        self.conv1 = conv_ahead(1, channels, _KERNEL)
        self.block = nn.ModuleList()
        for stride in config.encoder_rates:
            self.block.append(EncoderBlock(config, channels, stride, steps))
            channels, steps = 2 * channels, steps // stride
        window = config.attention_window
        self.attention = None if window is None else LocalAttention(channels, window)
        self.snake1 = None if config.depthwise else Snake(channels)
        self.conv2: nn.Module = DepthwiseAhead(channels, _KERNEL)
        if not config.depthwise:
            self.conv2 = conv_ahead(channels, config.latent_dim, 3, few_steps=True)

    def chain(self) -> Iterator[nn.Module]:
        """The layers in the order in which they run."""
        yield from (self.conv1, *self.block)
        if self.attention is not None:
            yield self.attention
        yield self.conv2

    def forward(self, audio: Tensor, state: State) -> Tensor:
        """See the class."""
        config, timeline = self.config, state.timeline
        timeline.begin(self, audio, config.hop)
        x: Tensor = self.conv1(audio, state)
        for block in self.block:
            x = block(x, state)
        if self.attention is not None:
            x = self.attention(x, state)
        x = self.conv2(x if self.snake1 is None else self.snake1(x), state)
        x = timeline.aligned(self, x, config.latent_rate)
        frames = x.reshape(x.shape[0], x.shape[1], -1, config.latent_rate)
        return frames.permute(0, 3, 1, 2).flatten(1, 2)


class DacDecoder(nn.Module):
    """Latent [B, latent_rate * latent_dim, T] -> audio [B, T * hop]; a whole signal may lack some samples."""

    def __init__(self, config: DacConfig):
        super().__init__()
        self.config, channels, steps = config, config.decoder_channels, config.latent_rate
        self.expand: nn.Module | None = None
        if config.depthwise:
            self.conv1: nn.Module = DepthwiseAhead(config.latent_dim, _KERNEL)
            self.expand = Conv1d(config.latent_dim, channels, 1, Causal.of(1), few_steps=True)
        else:
            self.conv1 = conv_ahead(config.latent_dim, channels, _KERNEL, few_steps=True)
        window = config.attention_window
        self.attention = None if window is None else LocalAttention(channels, window)
        self.block = nn.ModuleList()
        for rate in config.decoder_rates:
            self.block.append(DecoderBlock(config, channels, rate, steps))
            channels, steps = channels // 2, steps * rate
        self.snake1 = Snake(channels)
        self.conv2 = ToAudio(channels, _KERNEL)

    def chain(self) -> Iterator[nn.Module]:
        """The layers in the order in which they run."""
        yield self.conv1
        if self.attention is not None:
            yield self.attention
        yield from (*self.block, self.conv2)

    def forward(self, latent: Tensor, state: State) -> Tensor:
        """See the class."""
        config = self.config
        frames = latent.reshape(latent.shape[0], config.latent_rate, config.latent_dim, -1)
        x = frames.permute(0, 2, 3, 1).flatten(2)
        state.timeline.begin(self, x, config.latent_rate)
        x = self.conv1(x, state)
        if self.expand is not None:
            x = self.expand(x, state)
        if self.attention is not None:
            x = self.attention(x, state)
        for block in self.block:
            x = block(x, state)
        audio = state.timeline.ended(self.conv2(self.snake1(x), state))
        return torch.tanh(audio) if config.bounded else audio


@dataclass(frozen=True)
class Late:
    """What follows from the padding of a network's layers.

    Args:
        decoder_samples: how late a stream's audio is.
        encoder_frames: how late a stream's tokens are.
        short_samples: samples that decoded audio lacks of whole frames.
        decoder_reach: frames that the decoder sees on either side of a frame.
        encoder_reach: frames that the encoder sees on either side of a frame.
    """

    decoder_samples: int
    encoder_frames: int
    short_samples: int
    decoder_reach: int
    encoder_reach: int


@cache
def late(config: DacConfig) -> Late:
    """Run both networks without data, and see; noise does not matter."""
    config = replace(config, noise_frames=0)
    with torch.device("meta"):
        decoder, encoder = DacDecoder(config), DacEncoder(config)
        states = State(decoder), State(encoder)
        decoder(torch.zeros(1, config.latent_rate * config.latent_dim, 1), states[0])
        encoder(torch.zeros(1, 1, config.hop), states[1])
    clock, rate, hop = states[0].timeline.clock, config.latent_rate, config.hop
    past, future = reach_of(encoder.chain())
    return Late(
        decoder_samples=clock.delay,
        encoder_frames=states[1].timeline.clock.delay // rate,
        short_samples=clock.short,
        decoder_reach=ceil(max(reach_of(decoder.chain())) / rate),
        # The last step of a frame sees this far, its first step so many steps less.
        encoder_reach=max(ceil(past / hop), ceil((future - (hop // rate - 1)) / hop)),
    )
