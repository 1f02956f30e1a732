"""The HiFi-GAN encoder and decoder of NeMo's codecs (Kong et al. 2020, arXiv 2010.05646).

After nemo/collections/tts/modules/audio_codec_modules.py of NeMo 3.0.0: HiFiGANEncoder,
HiFiGANDecoder, CausalHiFiGANDecoder. Modules carry the names of the published tensors.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

import torch
from torch import Tensor, nn

from tritone_build.layers.channels import padded_alike
from tritone_build.layers.conv import Causal, Centred, Conv1d, Padding, PadMode, UpsampleConv1d
from tritone_build.layers.reach import Reach, reach_of, shortest_input
from tritone_build.layers.snake import HalfSnake, LeakyReLU
from tritone_build.state import State

__all__ = ["ACTIVATIONS", "FEW_STEPS", "HiFiGanConfig", "HiFiGanDecoder", "HiFiGanEncoder"]

FEW_STEPS = 16
"""With more steps than this, a convolution is as exact as a matrix product, and no slower."""

ACTIVATIONS = {"lrelu": LeakyReLU, "half_snake": HalfSnake}
OutputActivation: TypeAlias = Literal["tanh", "clamp"]


@dataclass(frozen=True)
class HiFiGanConfig:
    """An encoder or decoder; ``rates`` in the order in which they apply, ``grouped`` for the upsampling.

    ``few_steps`` is for the layers of a causal decoder in which a frame has few steps; see :class:`Conv1d`.
    """

    rates: tuple[int, ...]
    latent_dim: int
    base_channels: int
    in_kernel_size: int
    out_kernel_size: int
    kernel_sizes: tuple[int, ...]
    dilations: tuple[int, ...]
    activation: Literal["lrelu", "half_snake"]
    pad_mode: PadMode
    causal: bool = False
    grouped: bool = False
    output_activation: OutputActivation = "tanh"
    few_steps: bool = False

    def conv(self, channels_in: int, channels_out: int, kernel_size: int, dilation: int = 1) -> Conv1d:
        """A convolution with stride 1 and the padding of this configuration."""
        padding: Padding = Causal.of(kernel_size, dilation)
        if not self.causal:
            padding = Centred.of(kernel_size, self.pad_mode, dilation=dilation)
        return Conv1d(
            channels_in, channels_out, kernel_size, padding, dilation=dilation, few_steps=self.few_steps
        )

    def at(self, steps_per_frame: int) -> "HiFiGanConfig":
        """The configuration of layers in which a frame has this many steps."""
        return replace(self, few_steps=self.causal and steps_per_frame <= FEW_STEPS)

    def act(self, channels: int) -> nn.Module:
        """An activation of the configured kind."""
        return ACTIVATIONS[self.activation](channels)


class ResidualBlock(nn.Module):
    """x + conv(act(conv(act(x)))), the first convolution dilated; [B, C, T] -> [B, C, T]."""

    def __init__(self, config: HiFiGanConfig, channels: int, kernel_size: int, dilation: int):
        super().__init__()
        self.input_activation = config.act(channels)
        self.input_conv = config.conv(channels, channels, kernel_size, dilation)
        self.skip_activation = config.act(channels)
        self.skip_conv = config.conv(channels, channels, kernel_size)

    def forward(self, x: Tensor, state: State) -> Tensor:
        """[B, C, T] -> [B, C, T]."""
        y = self.input_conv(self.input_activation(x), state)
        skipped: Tensor = self.skip_conv(self.skip_activation(y), state)
        return x + skipped


class ResidualBranch(nn.Module):
    """Residual blocks of one kernel size, one per dilation; [B, C, T] -> [B, C, T]."""

    def __init__(self, config: HiFiGanConfig, channels: int, kernel_size: int):
        super().__init__()
        self.res_blocks = nn.ModuleList(
            ResidualBlock(config, channels, kernel_size, dilation) for dilation in config.dilations
        )

    def forward(self, x: Tensor, state: State) -> Tensor:
        """[B, C, T] -> [B, C, T]."""
        for block in self.res_blocks:
            x = block(x, state)
        return x


class ResidualLayer(nn.Module):
    """Mean of the branches, one per kernel size; [B, C, T] -> [B, C, T]."""

    def __init__(self, config: HiFiGanConfig, channels: int):
        super().__init__()
        self.res_blocks = nn.ModuleList(ResidualBranch(config, channels, k) for k in config.kernel_sizes)

    def _chains(self) -> list[list[Conv1d]]:
        return [[m for m in branch.modules() if isinstance(m, Conv1d)] for branch in self.res_blocks]

    @property
    def fewest_steps(self) -> int:
        """Fewest steps of the branch that needs the most."""
        return max(shortest_input(chain) for chain in self._chains())

    def reach(self, past: int, future: int) -> Reach:
        """See :class:`tritone_build.layers.reach.HasReach`; the maximum over the branches."""
        reaches = [reach_of(chain, past, future) for chain in self._chains()]
        return max(past for past, _ in reaches), max(future for _, future in reaches)

    def pad_channels(self, inputs: int, outputs: int) -> None:
        """See :class:`tritone_build.layers.channels.PadsChannels`."""
        multiple = padded_alike(self, inputs, outputs)
        for layer in self.modules():
            if isinstance(layer, Conv1d):
                layer.pad_channels(multiple, multiple)

    def forward(self, x: Tensor, state: State) -> Tensor:
        """[B, C, T] -> [B, C, T]."""
        total: Tensor = sum(branch(x, state) for branch in self.res_blocks)
        return total / len(self.res_blocks)


class HiFiGanEncoder(nn.Module):
    """Audio [B, 1, S], S a multiple of the hop, -> latent [B, D, T]; channels double as the rate falls."""

    def __init__(self, config: HiFiGanConfig):
        super().__init__()
        channels = config.base_channels
        self.pre_conv = config.conv(1, channels, config.in_kernel_size)
        self.res_layers, self.activations = nn.ModuleList(), nn.ModuleList()
        self.down_sample_conv_layers = nn.ModuleList()
        for rate in config.rates:
            self.res_layers.append(ResidualLayer(config, channels))
            self.activations.append(config.act(channels))
            padding = Centred.of(2 * rate, config.pad_mode, stride=rate)
            self.down_sample_conv_layers.append(
                Conv1d(channels, 2 * channels, 2 * rate, padding, stride=rate)
            )
            channels *= 2
        self.post_activation = config.act(channels)
        self.post_conv = config.conv(channels, config.latent_dim, config.out_kernel_size)

    def chain(self) -> Iterator[nn.Module]:
        """The layers in the order in which they run."""
        yield self.pre_conv
        for stage in zip(self.res_layers, self.activations, self.down_sample_conv_layers, strict=True):
            yield from stage
        yield from (self.post_activation, self.post_conv)

    def forward(self, audio: Tensor, state: State) -> Tensor:
        """[B, 1, S] -> [B, D, T]."""
        x = self.pre_conv(audio, state)
        stages = zip(self.res_layers, self.activations, self.down_sample_conv_layers, strict=True)
        for residual, activation, down_sample in stages:
            x = down_sample(activation(residual(x, state)), state)
        latent: Tensor = self.post_conv(self.post_activation(x), state)
        return latent


class HiFiGanDecoder(nn.Module):
    """Latent [B, D, T] -> audio [B, T * hop] within -1..1; channels halve as the rate rises."""

    def __init__(self, config: HiFiGanConfig):
        super().__init__()
        channels, steps, self.config = config.base_channels, 1, config
        self.pre_conv = config.at(steps).conv(config.latent_dim, channels, config.in_kernel_size)
        self.activations, self.up_sample_conv_layers = nn.ModuleList(), nn.ModuleList()
        self.res_layers = nn.ModuleList()
        for rate in config.rates:
            half, steps = channels // 2, steps * rate
            groups, trim = half if config.grouped else 1, 0 if config.causal else (rate + 1) // 2
            self.activations.append(config.act(channels))
            self.up_sample_conv_layers.append(UpsampleConv1d(channels, half, rate, groups, trim))
            self.res_layers.append(ResidualLayer(config.at(steps), half))
            channels = half
        self.post_activation = config.act(channels)
        self.post_conv = config.conv(channels, 1, config.out_kernel_size)

    def chain(self) -> Iterator[nn.Module]:
        """The layers in the order in which they run."""
        yield self.pre_conv
        for stage in zip(self.activations, self.up_sample_conv_layers, self.res_layers, strict=True):
            yield from stage
        yield from (self.post_activation, self.post_conv)

    def forward(self, latent: Tensor, state: State) -> Tensor:
        """[B, D, T] -> [B, T * hop]."""
        x = self.pre_conv(latent, state)
        stages = zip(self.activations, self.up_sample_conv_layers, self.res_layers, strict=True)
        for activation, up_sample, residual in stages:
            x = residual(up_sample(activation(x), state), state)
        x = self.post_conv(self.post_activation(x), state)
        return torch.tanh(x[:, 0]) if self.config.output_activation == "tanh" else x[:, 0].clamp(-1, 1)
