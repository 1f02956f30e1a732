"""NeMo's HiFi-GAN codecs: NanoCodec at three bitrates and the Low Frame-rate Speech Codec.

Papers: arXiv 2508.05835 (NanoCodec), 2409.12117 (LFSC). The geometry comes from the checkpoint's own
configuration; a safetensors copy without one must fit a published variant tensor by tensor.
"""

from collections.abc import Mapping
from fractions import Fraction
from math import ceil, sqrt
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from tritone_build.checkpoints import weight_norm
from tritone_build.checkpoints.checkpoint import Checkpoint
from tritone_build.codecs.base import Codec, Geometry, Variant, finished_codec, matching_variant
from tritone_build.codecs.configs.nemo import NemoConfig, parse, published
from tritone_build.codecs.configs.spectral import is_spectral
from tritone_build.codecs.strict import assign_strictly
from tritone_build.errors import UnsupportedNetworkError
from tritone_build.layers.conv import UpsampleConv1d
from tritone_build.layers.hifigan import HiFiGanDecoder, HiFiGanEncoder
from tritone_build.layers.quantizers.fsq import FiniteScalarQuantizer
from tritone_build.layers.reach import reach_of, shortest_input

__all__ = [
    "LAYOUTS",
    "NORMALIZED",
    "SIGNATURE",
    "VARIANTS",
    "Network",
    "in_layout",
    "inference_tensors",
    "load",
    "outline",
    "published_tensors",
    "quantizer_tensors",
    "recognises",
    "seeded_tensors",
    "variant_of",
]

LAYOUTS: tuple[str, ...] = ("nemo", "nemo.gz", "safetensors")
NORMALIZED: tuple[str, ...] = (".weight",)
SIGNATURE: tuple[str, ...] = ("audio_encoder.pre_conv.", "audio_decoder.up_sample_conv_layers.")
_TRAINING_ONLY = ("discriminator.", "slm_encoder.", "slm_predictor.", "speaker_encoder.")

_NANO_ENCODER = {"base_channels": 24, "activation": "lrelu", "pad_mode": "replicate"}
_NANO_DECODER = {
    "_target_": "CausalHiFiGANDecoder",
    "base_channels": 864,
    "activation": "half_snake",
    "output_activation": "clamp",
    "pad_mode": "zeros",
    "n_groups_equal_to_out_channels": True,
}
_MINI_BLOCKS = {"resblock_kernel_sizes": [7]}
_MINI_ENCODER = _NANO_ENCODER | _MINI_BLOCKS | {"base_channels": 8, "resblock_dilation_sizes": [1]}
_MINI_DECODER = _NANO_DECODER | _MINI_BLOCKS | {"base_channels": 256, "resblock_dilation_sizes": [1, 3, 9]}
_LFSC_ENCODER = {"base_channels": 48, "activation": "lrelu", "resblock_dilation_sizes": [1]}
_LFSC_DECODER = {"_target_": "HiFiGANDecoder", "base_channels": 1024, "activation": "lrelu"}

VARIANTS: tuple[Variant, ...] = (
    Variant(
        "nanocodec",
        "nvidia/nemo-nano-codec-22khz-0.6kbps-12.5fps",
        published(_NANO_ENCODER, _NANO_DECODER, [7, 7, 6, 3, 2], 4, [9, 8, 8, 7]),
        revision="5c8e22ed763c14d81337fbe6ca74062f3d10f7e5",
        sha256="bd5883099d0c74ceda760b6b7a1600b86da4d8a02531c9c282679951dcb08870",
    ),
    Variant(
        "nanocodec_1780bps",
        "nvidia/nemo-nano-codec-22khz-1.78kbps-12.5fps",
        published(_NANO_ENCODER, _NANO_DECODER, [7, 7, 6, 3, 2], 13, [8, 7, 6, 6]),
        revision="c4ab84a92c8d36a8b5a79eaea807cfaf7f03ed86",
    ),
    Variant(
        "nanocodec_1890bps",
        "nvidia/nemo-nano-codec-22khz-1.89kbps-21.5fps",
        published(_NANO_ENCODER, _NANO_DECODER, [8, 8, 4, 2, 2], 8, [8, 7, 6, 6]),
        revision="fc00890b604aa2de298d2641ffc6c5f6caf8c4d7",
    ),
    Variant(
        "nanocodec_mini",
        str(Path(__file__).parent / "nanocodec_mini.nemo"),
        published(_MINI_ENCODER, _MINI_DECODER, [8, 8, 4, 2, 2], 8, [8, 7, 6, 6]),
    ),
    Variant(
        "lfsc",
        "nvidia/low-frame-rate-speech-codec-22khz",
        published(_LFSC_ENCODER, _LFSC_DECODER, [8, 8, 4, 2, 2], 8, [8, 7, 6, 6]),
    ),
)


class Network(nn.Module):
    """Encoder and decoder, with weight norm folded."""

    def __init__(self, config: NemoConfig):
        super().__init__()
        self.audio_encoder = HiFiGanEncoder(config.encoder)
        self.audio_decoder = HiFiGanDecoder(config.decoder)

    def published_names(self) -> dict[str, str]:
        """Map names in a checkpoint, after folding, to names of parameters here."""
        return {_published_name(name): name for name, _ in self.named_parameters()}


def _published_name(name: str) -> str:
    owner, _, leaf = name.rpartition(".")
    return f"{owner}.activation.snake_act.{leaf}" if leaf == "alpha" else f"{owner}.conv.{leaf}"


def _quantizer(config: NemoConfig) -> FiniteScalarQuantizer:
    return FiniteScalarQuantizer(config.num_groups, config.levels)


def quantizer_tensors(fsq: FiniteScalarQuantizer) -> dict[str, Tensor]:
    """Buffers that a checkpoint holds for every group, by published name: INT32 [1, d, 1]."""
    values = {"num_levels": fsq.levels, "dim_base_index": fsq.bases}
    return {
        f"vector_quantizer.fsqs.{group}.{name}": torch.tensor(value, dtype=torch.int32)[None, :, None]
        for group in range(fsq.num_groups)
        for name, value in values.items()
    }


def recognises(checkpoint: Checkpoint) -> bool:
    """Whether the checkpoint is of this family, supported or not."""
    if is_spectral(checkpoint.config):
        return False
    return "nemo" in str(checkpoint.config.get("target", "")) or any(
        name.startswith("audio_decoder.up_sample_conv_layers.") for name in checkpoint.tensors
    )


def _config_of(checkpoint: Checkpoint) -> NemoConfig:
    """Parse the checkpoint's configuration; without one, that of the published variant its tensors fit."""
    if set(checkpoint.config) & {"audio_decoder", "audio_encoder", "target"}:
        return parse(checkpoint.config)
    shapes = {name: tuple(t.shape) for name, t in inference_tensors(checkpoint).items()}
    levels = {name: t for name, t in checkpoint.tensors.items() if name.endswith(".num_levels")}
    for variant in VARIANTS:
        config = parse(variant.config)
        expected = quantizer_tensors(_quantizer(config))
        if shapes == _shapes(config) and all(torch.equal(t, expected[name]) for name, t in levels.items()):
            return config
    raise UnsupportedNetworkError(
        f"{checkpoint.source}: the configuration does not describe the network, and the tensors fit no "
        f"published variant ({', '.join(v.name for v in VARIANTS)}); use the .nemo file"
    )


def _shapes(config: NemoConfig) -> dict[str, tuple[int, ...]]:
    with torch.device("meta"):
        network = Network(config)
    names = network.published_names()
    shapes = {published: tuple(network.get_parameter(name).shape) for published, name in names.items()}
    return shapes | {name: tuple(t.shape) for name, t in quantizer_tensors(_quantizer(config)).items()}


def inference_tensors(checkpoint: Checkpoint) -> dict[str, Tensor]:
    """The tensors of a checkpoint with weight norm folded, without networks that only training needs."""
    kept = {
        n: t for n, t in checkpoint.tensors.items() if not n.startswith(_TRAINING_ONLY) and "_loss" not in n
    }
    return weight_norm.fold(kept)


def variant_of(checkpoint: Checkpoint) -> str | None:
    """Name of the published variant whose network this is."""
    return matching_variant(_config_of(checkpoint), VARIANTS, parse)


def load(name: str, checkpoint: Checkpoint) -> Codec:
    """The codec with its weights, strictly: CheckpointMismatchError names every tensor that is off."""
    config, tensors = _config_of(checkpoint), inference_tensors(checkpoint)
    with torch.device("meta"):
        network = Network(config)
    names = network.published_names()
    assign_strictly(network, names, tensors, quantizer_tensors(_quantizer(config)), checkpoint.source)
    return _codec(name, config, network, checkpoint.sha256)


def outline(name: str, config: Mapping[str, Any]) -> Codec:
    """The codec that ``config`` describes, with empty weights."""
    parsed = parse(config)
    return _codec(name, parsed, Network(parsed), "")


def _codec(name: str, config: NemoConfig, network: Network, checkpoint_sha256: str) -> Codec:
    quantizer = _quantizer(config)
    parts = (quantizer, network.audio_decoder, network.audio_encoder)
    return finished_codec(name, _geometry(config, network), network, parts, checkpoint_sha256)


def _geometry(config: NemoConfig, network: Network) -> Geometry:
    decoder, encoder, hop = network.audio_decoder, network.audio_encoder, config.samples_per_frame
    fewest = max(shortest_input(decoder.chain()), shortest_input(encoder.chain(), Fraction(hop)))
    return Geometry(
        sample_rate_hz=config.sample_rate_hz,
        samples_per_frame=hop,
        num_channels=1,
        num_codebooks=config.num_groups,
        min_codebooks=config.num_groups,
        default_codebooks=config.num_groups,
        codebook_size=_quantizer(config).codebook_size,
        latent_dim=config.decoder.latent_dim,
        causal=config.decoder.causal,
        encode_causal=config.encoder.causal,
        min_frames=fewest,
        lookaround_frames=max(reach_of(decoder.chain())),
        encode_lookaround_frames=ceil(max(reach_of(encoder.chain())) / hop),
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
            fan = 2 * parameter.shape[1] if isinstance(owner, UpsampleConv1d) else parameter[0].numel()
            parameter.data = noise * (_gain(name) / sqrt(fan))
    return published_tensors(network, parsed)


def published_tensors(network: Network, config: NemoConfig) -> dict[str, Tensor]:
    """The tensors of a checkpoint of that network, with weight norm folded."""
    names = network.published_names()
    weights = {there: network.get_parameter(here).detach() for there, here in names.items()}
    return quantizer_tensors(_quantizer(config)) | weights


def in_layout(
    tensors: Mapping[str, Tensor],
    layout: str,
    config: Mapping[str, Any],
) -> dict[str, Tensor]:
    """Names and shapes are the same in all layouts."""
    return dict(tensors)


def _gain(name: str) -> float:
    """Ratio of the standard deviations of a layer's output and input."""
    if name.startswith("audio_encoder.pre_conv"):
        return 75.0
    if name.startswith("audio_decoder.post_conv"):
        return 0.07
    return 0.2 if "res_blocks" in name else 1.0
