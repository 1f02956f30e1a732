"""DAC, the Descript Audio Codec at 44.1, 24 and 16 kHz (Kumar et al. 2023, arXiv 2306.06546).

After dac/model/dac.py of descript-audio-codec 1.0.0 and models/dac of transformers 5.23.0. Both networks look
ahead. The audio of the 24 and 16 kHz codecs is 8 samples shorter than its frames: their transposed
convolution of stride 5 gives one step less, as in the authors' code.
"""

from collections.abc import Mapping
from math import sqrt
from typing import Any

import torch
from torch import Tensor

from tritone_build.checkpoints import weight_norm
from tritone_build.checkpoints.checkpoint import Checkpoint
from tritone_build.codecs.ahead import PublishedNetwork, geometry_of, give_weights
from tritone_build.codecs.base import Codec, Geometry, Variant, finished_codec, matching_variant
from tritone_build.codecs.configs.dac import (
    DAC_16KHZ,
    DAC_24KHZ,
    DAC_44KHZ,
    DacCodecConfig,
    describes,
    parse,
)
from tritone_build.codecs.names.dac import is_original, to_original, to_transformers
from tritone_build.codecs.nested import has_signature
from tritone_build.errors import UnsupportedNetworkError
from tritone_build.layers.ahead.dac import DacDecoder, DacEncoder
from tritone_build.layers.quantizers.factorized import FactorizedQuantizer

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
    "seeded_halves",
    "seeded_tensors",
    "variant_of",
]

VARIANTS: tuple[Variant, ...] = (
    Variant("dac_44khz", "descript/dac_44khz", DAC_44KHZ),
    Variant("dac_24khz", "descript/dac_24khz", DAC_24KHZ),
    Variant("dac_16khz", "descript/dac_16khz", DAC_16KHZ),
)
LAYOUTS: tuple[str, ...] = ("transformers", "pth", "parler")
NORMALIZED: tuple[str, ...] = (
    *(f".{place}.weight" for place in range(10)),
    "in_proj.weight",
    "out_proj.weight",
)
# SNAC has no block in that place of its decoder.
SIGNATURE: tuple[str, ...] = (
    "quantizer.quantizers.0.in_proj.",
    "decoder.block.0.conv_t1.|decoder.model.1.block.1.",
)


class Network(PublishedNetwork):
    """Encoder, decoder and quantizer; all but the quantizer's parameters have transformers' names."""

    def __init__(self, config: DacCodecConfig):
        super().__init__()
        self.encoder, self.decoder = DacEncoder(config.network), DacDecoder(config.network)
        self.quantizer = FactorizedQuantizer(
            config.num_codebooks, config.codebook_size, config.codebook_dim, config.network.latent_dim
        )

    def own_names(self) -> Mapping[str, str]:
        """See the base class."""
        names = (name for name, _ in self.named_parameters())
        return {name: name for name in names if name.startswith(("encoder.", "decoder."))}


def recognises(checkpoint: Checkpoint) -> bool:
    """Whether the checkpoint is of this family, supported or not."""
    return describes(checkpoint.config) or has_signature(checkpoint.tensors, SIGNATURE)


def _config_of(checkpoint: Checkpoint) -> DacCodecConfig:
    """Parse the checkpoint's configuration; without one, that of the published variant its tensors fit."""
    if describes(checkpoint.config):
        return parse(checkpoint.config)
    for variant in VARIANTS:
        config = parse(variant.config)
        shapes = {name: tensor.shape for name, tensor in _tensors(checkpoint, config).items()}
        if shapes == _shapes(config):
            return config
    raise UnsupportedNetworkError(
        f"{checkpoint.source}: no configuration describes the network, and the tensors fit no published one "
        f"({', '.join(v.name for v in VARIANTS)}); put config.json beside the weights"
    )


def _shapes(config: DacCodecConfig) -> dict[str, torch.Size]:
    with torch.device("meta"):
        return {name: tensor.shape for name, tensor in Network(config).published().items()}


def _tensors(checkpoint: Checkpoint, config: DacCodecConfig) -> dict[str, Tensor]:
    """The checkpoint's tensors by transformers' names, with weight norm folded."""
    folded = weight_norm.fold(checkpoint.tensors)
    return to_transformers(folded, len(config.network.encoder_rates)) if is_original(folded) else folded


def variant_of(checkpoint: Checkpoint) -> str | None:
    """Name of the published variant whose network the checkpoint holds, or None."""
    return matching_variant(_config_of(checkpoint), VARIANTS, parse)


def load(name: str, checkpoint: Checkpoint) -> Codec:
    """Load the codec strictly: CheckpointMismatchError names every tensor that does not fit."""
    config = _config_of(checkpoint)
    with torch.device("meta"):
        network = Network(config)
    give_weights(network, _tensors(checkpoint, config), {}, checkpoint.source)
    return _codec(name, config, network, checkpoint.sha256)


def outline(name: str, config: Mapping[str, Any]) -> Codec:
    """The codec that ``config`` describes, with empty weights."""
    parsed = parse(config)
    return _codec(name, parsed, Network(parsed), "")


def _codec(name: str, config: DacCodecConfig, network: Network, checkpoint_sha256: str) -> Codec:
    parts = (network.quantizer, network.decoder, network.encoder)
    return finished_codec(name, _geometry(config), network, parts, checkpoint_sha256)


def _geometry(config: DacCodecConfig) -> Geometry:
    return geometry_of(config.network, config.sample_rate_hz, config.num_codebooks, config.codebook_size)


def in_layout(tensors: Mapping[str, Tensor], layout: str, config: Mapping[str, Any]) -> dict[str, Tensor]:
    """Tensors by transformers' names -> by those of a layout."""
    if layout == "transformers":
        return dict(tensors)
    original = to_original(tensors, len(parse(config).network.encoder_rates))
    return original if layout == "pth" else {f"model.{name}": each for name, each in original.items()}


def seeded_tensors(config: Mapping[str, Any], generator: torch.Generator) -> dict[str, Tensor]:
    """Random weights under transformers' names.

    Their scale makes speech give varied tokens, and tokens give audio as loud as speech. With larger gains
    each Snake would amplify rounding errors more, and FP32 itself would be 115 dB from FP64.
    """
    with torch.device("meta"):
        tensors = Network(parse(config)).published()
    return seeded_halves(tensors, generator)


_BIAS, _FIRST_GAIN, _LAST_GAIN, _UNIT_GAIN, _GAIN = 0.02, 10.0, 0.3, 0.3, 0.8
_ALPHA, _ALPHA_SPREAD = 0.5, 0.5


def seeded_halves(tensors: Mapping[str, Tensor], generator: torch.Generator) -> dict[str, Tensor]:
    """Random values for tensors of DAC's encoder, decoder and quantizer, by transformers' names."""
    return {name: _seeded(name, tensor, generator) for name, tensor in tensors.items()}


def _seeded(name: str, like: Tensor, generator: torch.Generator) -> Tensor:
    noise = torch.randn(like.shape, generator=generator)
    if name.endswith("alpha"):
        return noise.mul_(_ALPHA_SPREAD).exp_().mul_(_ALPHA)
    if name.endswith("bias"):
        return noise.mul_(_BIAS)
    fan = 2 * len(like) if "conv_t1" in name else like[0].numel()
    return noise.mul_(_gain(name, like) / sqrt(fan))


def _gain(name: str, like: Tensor) -> float:
    """Ratio of the standard deviations of a layer's output and input."""
    if name.endswith("codebook.weight"):
        return sqrt(like.shape[1])
    if name.endswith(("encoder.conv1.weight", "decoder.conv2.weight")):
        return _FIRST_GAIN if "encoder" in name else _LAST_GAIN
    if name.endswith("out_proj.weight") or ("res_unit" in name and "conv2" in name):
        return _UNIT_GAIN
    return _GAIN
