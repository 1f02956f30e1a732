"""NeMo's spectral codec at 25 frames per second, which EasyMagpie speaks.

The encoder hears 16 kHz and looks ahead; the decoder makes 22.05 kHz and is causal, so it streams with a
state. The quantizer rounds 40 dimensions to four levels each; how many of them share an index is only
spelling, and the checkpoint's configuration says it.
"""

from collections.abc import Mapping
from math import ceil, sqrt
from typing import Any

import torch
from torch import Tensor, nn

from tritone_build.checkpoints.checkpoint import Checkpoint
from tritone_build.codecs.base import Codec, Geometry, Variant, finished_codec, matching_variant
from tritone_build.codecs.configs.spectral import PUBLISHED, SpectralConfig, is_spectral, parse
from tritone_build.codecs.nemo import inference_tensors, quantizer_tensors
from tritone_build.codecs.strict import assign_strictly
from tritone_build.layers.conv import UpsampleConv1d
from tritone_build.layers.quantizers.fsq import FiniteScalarQuantizer
from tritone_build.layers.reach import reach_of
from tritone_build.layers.spectral.decoder import SpectralDecoder
from tritone_build.layers.spectral.encoder import SpectralEncoder
from tritone_build.layers.spectral.stft import hann_window

__all__ = [
    "LAYOUTS",
    "NORMALIZED",
    "SIGNATURE",
    "VARIANTS",
    "Network",
    "in_layout",
    "load",
    "outline",
    "recognises",
    "seeded_tensors",
    "variant_of",
]

LAYOUTS: tuple[str, ...] = ("nemo", "nemo.gz")
NORMALIZED: tuple[str, ...] = (".weight",)
SIGNATURE: tuple[str, ...] = ("audio_encoder.pre_spec_processor.", "audio_decoder.pre_conv.")
VARIANTS: tuple[Variant, ...] = (
    Variant("spectral_25fps", "25fps_spectral_codec_with_bandwidth_extension.nemo", PUBLISHED),
)
_WINDOW_TOLERANCE = 1e-6
_GAINS = (
    ("audio_encoder.post_conv", 3.0),
    ("audio_decoder.post_conv", 0.2),
    ("audio_encoder.", 1.0),
    ("input_conv", 0.5),
    ("skip_conv", 0.3),
    ("up_sample", 0.5),
)
"""Gains of the layers whose name contains a word, the first that fits; of all other layers 1."""


class Network(nn.Module):
    """Encoder and decoder, with weight norm folded."""

    def __init__(self, config: SpectralConfig):
        super().__init__()
        self.audio_encoder = SpectralEncoder(config.encoder)
        self.audio_decoder = SpectralDecoder(config.decoder)

    def published_names(self) -> dict[str, str]:
        """Map names in a checkpoint, after folding, to names of parameters here."""
        return {_published_name(name): name for name, _ in self.named_parameters()}

    def windows(self) -> dict[str, Tensor]:
        """The windows that a checkpoint holds: FP32 [window]."""
        return {
            f"audio_encoder.{name}.window": hann_window(spectrum.window_length)
            for name, spectrum in self.audio_encoder.spectra()
        }


def _published_name(name: str) -> str:
    owner, _, leaf = name.rpartition(".")
    return f"{owner}.activation.snake_act.{leaf}" if leaf == "alpha" else name


def recognises(checkpoint: Checkpoint) -> bool:
    """Whether the checkpoint is of this family, supported or not."""
    return is_spectral(checkpoint.config) or any(name.startswith(SIGNATURE[0]) for name in checkpoint.tensors)


def variant_of(checkpoint: Checkpoint) -> str | None:
    """Name of the published variant whose network this is."""
    return matching_variant(parse(checkpoint.config), VARIANTS, parse)


def load(name: str, checkpoint: Checkpoint) -> Codec:
    """The codec with its weights, strictly: CheckpointMismatchError names every tensor that is off."""
    config, tensors = parse(checkpoint.config), inference_tensors(checkpoint)
    with torch.device("meta"):
        network = Network(config)
    constants = _windows_as_written(network, tensors) | quantizer_tensors(_quantizer(config))
    assign_strictly(network, network.published_names(), tensors, constants, checkpoint.source)
    return _codec(name, config, network, checkpoint.sha256)


def _windows_as_written(network: Network, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Our windows, as the checkpoint rounds them: rounding depends on who wrote it."""
    written = {}
    for name, window in network.windows().items():
        found = tensors.get(name, window).float()
        same = found.shape == window.shape and torch.allclose(found, window, rtol=0, atol=_WINDOW_TOLERANCE)
        written[name] = found if same else window
    return written


def outline(name: str, config: Mapping[str, Any]) -> Codec:
    """The codec that ``config`` describes, with empty weights."""
    parsed = parse(config)
    return _codec(name, parsed, Network(parsed), "")


def _quantizer(config: SpectralConfig) -> FiniteScalarQuantizer:
    return FiniteScalarQuantizer(config.num_groups, config.levels)


def _codec(name: str, config: SpectralConfig, network: Network, checkpoint_sha256: str) -> Codec:
    quantizer = _quantizer(config)
    parts = (quantizer, network.audio_decoder, network.audio_encoder)
    geometry = _geometry(config, network, quantizer.codebook_size)
    return finished_codec(name, geometry, network, parts, checkpoint_sha256)


def _geometry(config: SpectralConfig, network: Network, codebook_size: int) -> Geometry:
    hop = config.encode_samples_per_frame
    return Geometry(
        sample_rate_hz=config.sample_rate_hz,
        samples_per_frame=config.samples_per_frame,
        encode_sample_rate_hz=config.encode_sample_rate_hz,
        encode_samples_per_frame=hop,
        num_channels=1,
        num_codebooks=config.num_groups,
        min_codebooks=config.num_groups,
        default_codebooks=config.num_groups,
        codebook_size=codebook_size,
        latent_dim=config.decoder.latent_dim,
        causal=True,
        encode_causal=False,
        min_frames=1,
        lookaround_frames=max(reach_of(network.audio_decoder.chain())),
        encode_lookaround_frames=ceil(max(network.audio_encoder.reach_samples()) / hop),
    )


def seeded_tensors(config: Mapping[str, Any], generator: torch.Generator) -> dict[str, Tensor]:
    """Random weights under their published names.

    Their scale makes speech give varied tokens, and tokens give audio that is not clipped.
    """
    parsed = parse(config)
    network = Network(parsed)
    for name, parameter in network.named_parameters():
        owner = network.get_submodule(name.rpartition(".")[0])
        noise = torch.randn(parameter.shape, generator=generator)
        if name.endswith("bias"):
            parameter.data = 0.02 * noise
        elif name.endswith("alpha"):
            parameter.data = 1 + 0.2 * noise
        else:
            parameter.data = noise * (_gain(name) / sqrt(_fan(owner, parameter)))
    weights = {
        there: network.get_parameter(here).detach() for there, here in network.published_names().items()
    }
    return network.windows() | quantizer_tensors(_quantizer(parsed)) | weights


def _fan(owner: nn.Module, weight: Tensor) -> int:
    """Input numbers of each output number; of grouped upsampling those of two frames."""
    return 2 * len(weight) // owner.groups if isinstance(owner, UpsampleConv1d) else weight[0].numel()


def _gain(name: str) -> float:
    """Ratio of the standard deviations of a layer's output and input."""
    return next((gain for part, gain in _GAINS if part in name), 1.0)


def in_layout(tensors: Mapping[str, Tensor], layout: str, config: Mapping[str, Any]) -> dict[str, Tensor]:
    """Names and shapes are the same in all layouts."""
    return dict(tensors)
