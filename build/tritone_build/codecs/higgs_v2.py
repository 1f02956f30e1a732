"""Higgs Audio v2's tokenizer: DAC's network, with features of HuBERT beside the encoder's latent.

After models/higgs_audio_v2_tokenizer/modeling_higgs_audio_v2_tokenizer.py of transformers 5.23.0. Three facts
matter to a caller:

- The decoder looks ahead, as DAC's does. The encoder needs the whole utterance: HuBERT normalizes over all of
  it and attends to all of it, so every sample changes every token, and there are no streams of it.
- Audio is padded with zeros to whole frames before it is encoded. For other lengths transformers and the
  authors disagree about the padding; for whole frames they give the same tokens.
- Decoded audio is not limited to -1..1: unlike DAC's decoder, this one does not end in a hyperbolic tangent.
"""

from collections.abc import Mapping
from dataclasses import replace
from math import sqrt
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from tritone_build.checkpoints import weight_norm
from tritone_build.checkpoints.checkpoint import Checkpoint
from tritone_build.codecs import dac
from tritone_build.codecs.ahead import PublishedNetwork, geometry_of, give_weights
from tritone_build.codecs.base import Codec, Geometry, Variant, finished_codec, matching_variant
from tritone_build.codecs.configs.higgs_v2 import PUBLISHED, HiggsConfig, describes, parse
from tritone_build.codecs.names import higgs_v2 as names
from tritone_build.codecs.names.factorized import LINEAR_MAPS
from tritone_build.codecs.nested import has_signature
from tritone_build.layers.ahead.dac import DacDecoder, DacEncoder
from tritone_build.layers.hubert import Hubert
from tritone_build.layers.quantizers.factorized import FactorizedQuantizer
from tritone_build.layers.resampling import SincResampler
from tritone_build.layers.semantic import SemanticEncoder
from tritone_build.layers.unfolded import product
from tritone_build.state import State

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
    "training_only",
    "variant_of",
]

VARIANTS: tuple[Variant, ...] = (Variant("higgs_v2", "bosonai/higgs-audio-v2-tokenizer", PUBLISHED),)
LAYOUTS: tuple[str, ...] = ("transformers", "bin")
NORMALIZED: tuple[str, ...] = tuple(f".{place}.weight" for place in range(10))
SIGNATURE: tuple[str, ...] = (
    "acoustic_decoder.block.0.conv_t1.|decoder_2.model.1.block.1.",
    "semantic_model.encoder.layers.0.",
)
_EDGE = 160
"""Zeros around the audio for HuBERT, half a step of its usual 320 samples."""
_LONGEST_S = 30
"""Memory for HuBERT's attention grows with the square of an utterance's length."""
_POSITIONS = "semantic_model.encoder.pos_conv_embed.conv"


class HiggsEncoder(nn.Module):
    """Audio [B, 1, S], S a multiple of the hop, -> vectors to quantize [B, D, T]."""

    def __init__(self, config: HiggsConfig):
        super().__init__()
        self.acoustic_encoder = DacEncoder(config.acoustic)
        self.resample = SincResampler(config.sample_rate_hz, config.semantic_rate_hz)
        self.semantic_model, self.semantic_stride = Hubert(config.semantic), config.semantic_stride
        self.encoder_semantic = SemanticEncoder(config.semantic.dim)
        self.fc = nn.Linear(config.dim, config.dim)

    def forward(self, audio: Tensor, state: State) -> Tensor:
        """See the class."""
        acoustic = self.acoustic_encoder(audio, state)
        speech = functional.pad(self.resample(audio[:, 0]), (_EDGE, _EDGE))
        features = self.semantic_model(speech)[:, :: self.semantic_stride].transpose(1, 2)
        both = torch.cat([acoustic, self.encoder_semantic(features)], 1).transpose(1, 2)
        return product(both, self.fc.weight.T, self.fc.bias).transpose(1, 2)


class HiggsQuantizer(nn.Module):
    """Vectors [B, D, T] -> tokens INT64 [B, K, T] -> the decoder's smaller latent [B, D', T]."""

    def __init__(self, config: HiggsConfig):
        super().__init__()
        self.quantizer = FactorizedQuantizer(
            config.num_codebooks, config.codebook_size, config.codebook_dim, config.dim, by_direction=False
        )
        self.fc2 = nn.Linear(config.dim, config.acoustic.latent_dim)

    def quantize(self, latent: Tensor) -> Tensor:
        """Vectors -> tokens."""
        return self.quantizer.quantize(latent)

    def dequantize(self, tokens: Tensor) -> Tensor:
        """Tokens of all codebooks or of the first ones, each in range, -> latent for the decoder."""
        summed = self.quantizer.dequantize(tokens).transpose(1, 2)
        return (summed @ self.fc2.weight.T + self.fc2.bias).transpose(1, 2)


class Network(PublishedNetwork):
    """Encoder, decoder and quantizer; all parameters have transformers' names, but for their owners here."""

    BOOKS = "quantizer.quantizer"
    BOOK_NAMES = LINEAR_MAPS

    def __init__(self, config: HiggsConfig):
        super().__init__()
        self.encoder, self.quantizer = HiggsEncoder(config), HiggsQuantizer(config)
        self.acoustic_decoder = DacDecoder(config.acoustic)

    def own_names(self) -> Mapping[str, str]:
        """See the base class."""
        every = (name for name, _ in self.named_parameters() if not name.startswith(f"{self.BOOKS}."))
        return {name.removeprefix("encoder.").removeprefix("quantizer."): name for name in every}


def recognises(checkpoint: Checkpoint) -> bool:
    """Whether the checkpoint is of this family, supported or not."""
    return describes(checkpoint.config) or has_signature(checkpoint.tensors, SIGNATURE)


def _config_of(checkpoint: Checkpoint) -> HiggsConfig:
    """Parse the checkpoint's configuration; without one, the published one, which the tensors must fit.

    The authors' own configuration counts as none: it does not describe the network.
    """
    return parse(checkpoint.config if describes(checkpoint.config) else PUBLISHED)


def variant_of(checkpoint: Checkpoint) -> str | None:
    """Name of the published variant whose network the checkpoint holds, or None."""
    return matching_variant(_config_of(checkpoint), VARIANTS, parse)


def load(name: str, checkpoint: Checkpoint) -> Codec:
    """Load the codec strictly: CheckpointMismatchError names every tensor that does not fit.

    Networks that only the training needs are left out.
    """
    config = _config_of(checkpoint)
    with torch.device("meta"):
        network = Network(config)
    tensors = weight_norm.fold(checkpoint.tensors)
    if names.is_original(tensors):
        tensors = names.to_transformers(tensors, len(config.acoustic.encoder_rates))
    give_weights(network, names.for_inference(tensors), {}, checkpoint.source)
    return _codec(name, config, network, checkpoint.sha256)


def outline(name: str, config: Mapping[str, Any]) -> Codec:
    """The codec that ``config`` describes, with empty weights."""
    parsed = parse(config)
    return _codec(name, parsed, Network(parsed), "")


def _codec(name: str, config: HiggsConfig, network: Network, checkpoint_sha256: str) -> Codec:
    parts = (network.quantizer, network.acoustic_decoder, network.encoder)
    return finished_codec(name, _geometry(config), network, parts, checkpoint_sha256)


def _geometry(config: HiggsConfig) -> Geometry:
    geometry = geometry_of(config.acoustic, config.sample_rate_hz, config.num_codebooks, config.codebook_size)
    return replace(
        geometry,
        encode_lookaround_frames=_LONGEST_S * config.sample_rate_hz // config.acoustic.hop,
        encode_delay_frames=0,
        encode_whole_s=_LONGEST_S,
    )


def in_layout(tensors: Mapping[str, Tensor], layout: str, config: Mapping[str, Any]) -> dict[str, Tensor]:
    """Tensors by transformers' names -> by those of a layout; ``bin`` has the authors' names."""
    placed = dict(tensors)
    weight = placed.pop(f"{_POSITIONS}.weight")
    scale = torch.linalg.vector_norm(weight, dim=(0, 1), keepdim=True)
    spelled = f"{_POSITIONS}.parametrizations.weight.original"
    placed |= {f"{spelled}0": scale, f"{spelled}1": weight}
    if layout == "transformers":
        return placed
    return names.to_original(placed, len(parse(config).acoustic.encoder_rates))


def training_only(config: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    """Shapes of the published tensors that only the training needs, by transformers' names."""
    parsed = parse(config)
    dim, kernels = parsed.semantic.dim, {"conv1": 3, "conv2": 1}
    shapes: dict[str, tuple[int, ...]] = {"fc1.weight": (dim, parsed.dim), "fc1.bias": (dim,)}
    for end in ("conv1", "conv2"):
        shapes[f"decoder_semantic.{end}.weight"] = (dim, dim, 3)
    for block in ("decoder_semantic.conv_blocks.0", "decoder_semantic.conv_blocks.1"):
        shapes |= {f"{block}.conv.weight": (dim, dim, 3), f"{block}.conv.bias": (dim,)}
        for unit in (0, 1):
            shapes |= {f"{block}.res_units.{unit}.{n}.weight": (dim, dim, k) for n, k in kernels.items()}
    for book in range(parsed.num_codebooks):
        statistics = f"quantizer.quantizers.{book}.codebook"
        shapes[f"{statistics}.embed_avg"] = (parsed.codebook_size, parsed.codebook_dim)
        shapes |= {f"{statistics}.cluster_size": (parsed.codebook_size,), f"{statistics}.inited": (1,)}
    return shapes


def seeded_tensors(config: Mapping[str, Any], generator: torch.Generator) -> dict[str, Tensor]:
    """Random weights under transformers' names, and zeros for what only the training needs.

    Their scale makes speech give varied tokens, and tokens give audio as loud as speech.
    """
    with torch.device("meta"):
        tensors = Network(parse(config)).published()
    acoustic = {name: each for name, each in tensors.items() if name.startswith("acoustic_")}
    others = {name: each for name, each in tensors.items() if name not in acoustic}
    unused = {name: torch.zeros(shape) for name, shape in training_only(config).items()}
    seeded = {name: _seeded(name, tensor, generator) for name, tensor in others.items()}
    return dac.seeded_halves(acoustic, generator) | seeded | unused


_GAINS = {"codebook.embed": 1.0, "project_out": 0.3, "feature_extractor": 1.5, "out_proj": 0.5, "conv2": 0.3}


def _seeded(name: str, like: Tensor, generator: torch.Generator) -> Tensor:
    noise = torch.randn(like.shape, generator=generator)
    if "norm" in name:
        return noise.mul_(0.1).add_(1.0 if name.endswith("weight") else 0.0)
    if name.endswith("bias"):
        return noise.mul_(0.02)
    gain = next((gain for part, gain in _GAINS.items() if part in name), 1.0)
    fan = 1 if name.endswith("codebook.embed") else like[0].numel()
    return noise.mul_(gain / sqrt(fan))
