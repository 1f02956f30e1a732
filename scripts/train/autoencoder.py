"""The network of nanocodec_mini for training: encoder, quantizer with straight-through gradient, decoder."""

from math import sqrt
from pathlib import Path

import torch
from torch import Tensor, nn

from tritone_build.checkpoints.fixtures import write_nemo
from tritone_build.codecs import nemo, variant
from tritone_build.codecs.configs.nemo import parse
from tritone_build.layers.conv import UpsampleConv1d
from tritone_build.layers.quantizers.fsq import FiniteScalarQuantizer
from tritone_build.state import whole

__all__ = ["NAME", "Autoencoder", "write_checkpoint"]

NAME = "nanocodec_mini"
_GAINS = {"audio_encoder.pre_conv": 30.0, "audio_decoder.post_conv": 0.1, "skip_conv": 0.2}
"""Initial gains of some layers. Without the first, latents of quiet speech would all round to zero; without
the others the output would clip, where its gradient is zero."""


class Autoencoder(nn.Module):
    """Audio [B, S] -> the audio [B, S] decoded from its tokens; S is a multiple of ``hop``."""

    def __init__(self, seed: int):
        super().__init__()
        self.config = parse(variant(NAME).config)
        self.network = nemo.Network(self.config)
        self.quantizer = FiniteScalarQuantizer(self.config.num_groups, self.config.levels)
        generator = torch.Generator().manual_seed(seed)
        for name, parameter in self.network.named_parameters():
            parameter.data = self._initial(name, parameter, generator)

    @property
    def hop(self) -> int:
        """Samples per frame."""
        return self.config.samples_per_frame

    @property
    def rate_hz(self) -> int:
        """Sample rate of the audio."""
        return self.config.sample_rate_hz

    def _initial(self, name: str, parameter: Tensor, generator: torch.Generator) -> Tensor:
        """Initial values: uniform with variance 1 / fan-in, to keep loudness; 1 for the alpha of snakes."""
        if name.endswith("alpha"):
            return torch.ones(parameter.shape)
        if name.endswith("bias"):
            return torch.zeros(parameter.shape)
        upsamples = isinstance(self.network.get_submodule(name.rpartition(".")[0]), UpsampleConv1d)
        fan = 2 if upsamples else parameter[0].numel()
        gain = next((gain for layer, gain in _GAINS.items() if layer in name), 1.0)
        return gain * (2 * torch.rand(parameter.shape, generator=generator) - 1) * sqrt(3 / fan)

    def forward(self, audio: Tensor) -> Tensor:
        """Encode, quantize and decode: [B, S] -> [B, S]."""
        latent = whole(self.network.audio_encoder, audio[:, None])
        return whole(self.network.audio_decoder, self.quantizer.straight_through(latent))


def write_checkpoint(model: Autoencoder, path: Path) -> Path:
    """Write the weights in FP16 as a .nemo file; return its path."""
    tensors = nemo.published_tensors(model.network, model.config)
    halved = {name: t.half().cpu() if t.is_floating_point() else t for name, t in tensors.items()}
    return write_nemo(path, variant(NAME).config, halved)
