"""SNAC, the multi-scale codec at 24, 32 and 44.1 kHz (Siuzdak et al. 2024, arXiv 2410.14411).

After snac/{snac,layers,vq,attention}.py of snac 1.2.1. Its codebooks run at different rates. Here the tokens
of a frame are rows of one rate, codebook by codebook, coarse first, and in time order within a codebook: at
24 kHz 1 + 2 + 4 rows, at 32 and 44.1 kHz 4 + 8 + 16 + 32. Both networks look ahead. The decoder's noise is
off, so equal tokens give equal audio.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from tritone_build.checkpoints import weight_norm
from tritone_build.checkpoints.checkpoint import Checkpoint
from tritone_build.codecs.ahead import PublishedNetwork, geometry_of, give_weights
from tritone_build.codecs.base import Codec, Geometry, Variant, finished_codec, matching_variant
from tritone_build.codecs.configs.snac import (
    SNAC_24KHZ,
    SNAC_32KHZ,
    SNAC_44KHZ,
    SnacCodecConfig,
    describes,
    parse,
)
from tritone_build.codecs.dac import seeded_halves
from tritone_build.codecs.names.snac import published_names
from tritone_build.codecs.nested import has_signature
from tritone_build.errors import UnsupportedNetworkError
from tritone_build.layers.ahead.attention import inverse_frequencies
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
    "seeded_tensors",
    "variant_of",
]

VARIANTS: tuple[Variant, ...] = (
    Variant("snac_24khz", "hubertsiuzdak/snac_24khz", SNAC_24KHZ),
    Variant("snac_32khz", "hubertsiuzdak/snac_32khz", SNAC_32KHZ),
    Variant("snac_44khz", "hubertsiuzdak/snac_44khz", SNAC_44KHZ),
)
LAYOUTS: tuple[str, ...] = ("bin", "safetensors")
NORMALIZED: tuple[str, ...] = (
    *(f".{place}.weight" for place in range(10)),
    "linear.weight",
    "in_proj.weight",
    "out_proj.weight",
)
SIGNATURE: tuple[str, ...] = (
    "quantizer.quantizers.0.in_proj.",
    "decoder.model.1.weight|decoder.model.1.parametrizations.",
)


class Network(PublishedNetwork):
    """Encoder, decoder and quantizer."""

    def __init__(self, config: SnacCodecConfig):
        super().__init__()
        self.config, network = config, config.network
        self.encoder, self.decoder = DacEncoder(network), DacDecoder(network)
        self.quantizer = FactorizedQuantizer(
            len(config.strides),
            config.codebook_size,
            config.codebook_dim,
            network.latent_dim,
            strides=config.strides,
            steps=network.latent_rate,
        )
        self.names = published_names(len(network.decoder_rates), network.attention_window is not None)

    def own_names(self) -> Mapping[str, str]:
        """See the base class."""
        return self.names


def _constants(config: SnacCodecConfig) -> dict[str, Tensor]:
    """Buffers of the two layers of attention."""
    if config.network.attention_window is None:
        return {}
    owners = f"encoder.block.{len(config.network.encoder_rates) + 1}", "decoder.model.2"
    return {f"{owner}.rel_pos.inv_freq": inverse_frequencies() for owner in owners}


def recognises(checkpoint: Checkpoint) -> bool:
    """Whether the checkpoint is of this family, supported or not."""
    return describes(checkpoint.config) or has_signature(checkpoint.tensors, SIGNATURE)


def _config_of(checkpoint: Checkpoint) -> SnacCodecConfig:
    if describes(checkpoint.config):
        return parse(checkpoint.config)
    raise UnsupportedNetworkError(
        f"{checkpoint.source}: SNAC's tensors do not say how often its codebooks run, and no configuration "
        "does; put config.json beside the weights"
    )


def variant_of(checkpoint: Checkpoint) -> str | None:
    """Name of the published variant whose network the checkpoint holds, or None."""
    return matching_variant(_config_of(checkpoint), VARIANTS, parse)


def load(name: str, checkpoint: Checkpoint) -> Codec:
    """Load the codec strictly: CheckpointMismatchError names every tensor that does not fit."""
    config = _config_of(checkpoint)
    with torch.device("meta"):
        network = Network(config)
    tensors = weight_norm.fold(checkpoint.tensors)
    give_weights(network, tensors, _constants(config), checkpoint.source)
    return _codec(name, config, network, checkpoint.sha256)


def outline(name: str, config: Mapping[str, Any]) -> Codec:
    """The codec that ``config`` describes, with empty weights."""
    parsed = parse(config)
    return _codec(name, parsed, Network(parsed), "")


def _codec(name: str, config: SnacCodecConfig, network: Network, checkpoint_sha256: str) -> Codec:
    parts = (network.quantizer, network.decoder, network.encoder)
    return finished_codec(name, _geometry(config), network, parts, checkpoint_sha256)


def _geometry(config: SnacCodecConfig) -> Geometry:
    network, rows = config.network, config.rows
    geometry = geometry_of(network, config.sample_rate_hz, rows, config.codebook_size, fewest_rows=rows)
    return replace(geometry, codebook_rows=tuple(network.latent_rate // stride for stride in config.strides))


def seeded_tensors(config: Mapping[str, Any], generator: torch.Generator) -> dict[str, Tensor]:
    """Random weights under their published names.

    Their scale makes speech give varied tokens, and tokens give audio as loud as speech.
    """
    parsed = parse(config)
    with torch.device("meta"):
        network = Network(parsed)
    names = network.names
    ours = {names.get(there, there): tensor for there, tensor in network.published().items()}
    there_of = {here: there for there, here in names.items()}
    seeded = seeded_halves(ours, generator)
    return {there_of.get(here, here): tensor for here, tensor in seeded.items()} | _constants(parsed)


def in_layout(tensors: Mapping[str, Tensor], layout: str, config: Mapping[str, Any]) -> dict[str, Tensor]:
    """Names and shapes are the same in both layouts."""
    return dict(tensors)
