"""Kyutai's Mimi (Défossez et al. 2024, arXiv 2410.00037), in either format it is published in.

After Kyutai's moshi 0.2.13 (moshi/models/{loaders,compression}.py). Encoder and decoder are causal and
compute over [B, T, C]; attention sees the last 250 steps of 40 ms in a stream of any length.
"""

from collections.abc import Iterator, Mapping
from math import ceil, sqrt
from typing import Any

import torch
from torch import Tensor, nn

from tritone_build.checkpoints.checkpoint import Checkpoint
from tritone_build.codecs.base import Codec, Geometry, Variant, finished_codec, matching_variant
from tritone_build.codecs.configs.mimi import PUBLISHED, MimiConfig, describes, parse
from tritone_build.codecs.names import mimi as mimi_names
from tritone_build.codecs.strict import assign_published, check_strictly, published_tensors
from tritone_build.errors import UnsupportedNetworkError
from tritone_build.layers.quantizers.rvq import SplitResidualQuantizer
from tritone_build.layers.reach import reach_of
from tritone_build.layers.seanet import SeanetDecoder, SeanetEncoder
from tritone_build.layers.transformer import Transformer
from tritone_build.layers.unfolded import DepthwiseUpsample, UnfoldedConv1d
from tritone_build.state import State

__all__ = [
    "LAYOUTS",
    "NORMALIZED",
    "SIGNATURE",
    "VARIANTS",
    "EncoderNetwork",
    "MimiEncoder",
    "Network",
    "constants_of",
    "in_layout",
    "load",
    "outline",
    "recognises",
    "seeded_tensor",
    "seeded_tensors",
    "variant_of",
]

VARIANTS: tuple[Variant, ...] = (Variant("mimi", "kyutai/mimi", PUBLISHED),)
LAYOUTS: tuple[str, ...] = ("safetensors", "kyutai")
NORMALIZED: tuple[str, ...] = ()
SIGNATURE: tuple[str, ...] = (
    "quantizer.",
    "encoder_transformer.",
    "decoder_transformer.",
    "downsample.",
    "upsample.",
)
_DEFAULT_CODEBOOKS = 8
_INITIALIZED = torch.ones(1)


class MimiDecoder(nn.Module):
    """Latent [B, D, T] -> audio [B, T * hop], not limited to -1..1."""

    def __init__(self, config: MimiConfig):
        super().__init__()
        self.upsample = DepthwiseUpsample(config.dim, config.resample)
        self.transformer = Transformer(config.transformer)
        self.seanet = SeanetDecoder(config.seanet)

    def chain(self) -> Iterator[nn.Module]:
        """The layers in the order they run."""
        yield from (self.upsample, self.transformer, *self.seanet.chain())

    def forward(self, latent: Tensor, state: State) -> Tensor:
        """See the class."""
        x = self.upsample(latent.transpose(1, 2), state)
        audio: Tensor = self.seanet(self.transformer(x, state), state)
        return audio[:, :, 0]


class MimiEncoder(nn.Module):
    """Audio [B, 1, S], S a multiple of the hop, -> latent [B, D, T]."""

    def __init__(self, config: MimiConfig):
        super().__init__()
        rate = config.resample
        self.seanet = SeanetEncoder(config.seanet)
        self.transformer = Transformer(config.transformer)
        self.downsample = UnfoldedConv1d(config.dim, config.dim, 2 * rate, rate, bias=False, edge="replicate")

    def chain(self) -> Iterator[nn.Module]:
        """The layers in the order they run."""
        yield from (*self.seanet.chain(), self.transformer, self.downsample)

    def forward(self, audio: Tensor, state: State) -> Tensor:
        """See the class."""
        x = self.transformer(self.seanet(audio.transpose(1, 2), state), state)
        latent: Tensor = self.downsample(x, state)
        return latent.transpose(1, 2)


class EncoderNetwork(nn.Module):
    """Encoder and quantizer."""

    def __init__(self, config: MimiConfig):
        super().__init__()
        self.config = config
        self.encoder = MimiEncoder(config)
        self.quantizer = SplitResidualQuantizer(
            config.num_codebooks,
            config.codebook_size,
            config.codebook_dim,
            config.dim,
            usual=_DEFAULT_CODEBOOKS,
        )

    def published(self) -> dict[str, Tensor]:
        """Tensors by their name in Kyutai's layout; without data on the meta device."""
        tensors = published_tensors(self, self._published_name)
        books = (name for name in tensors if "._codebook." in name)
        return tensors | {mimi_names.initialized_name(name): _INITIALIZED for name in books}

    def assign(self, tensors: Mapping[str, Tensor]) -> None:
        """Take over the tensors of :meth:`published`."""
        assign_published(self, self._published_name, tensors)

    def _published_name(self, name: str) -> str:
        return mimi_names.published_name(name, len(self.config.seanet.ratios))


class Network(EncoderNetwork):
    """Encoder, decoder and quantizer."""

    def __init__(self, config: MimiConfig):
        super().__init__(config)
        self.decoder = MimiDecoder(config)


def recognises(checkpoint: Checkpoint) -> bool:
    """Whether the checkpoint is of this family, supported or not."""
    return describes(checkpoint.config) or mimi_names.layout_of(checkpoint.tensors) is not None


def _config_of(checkpoint: Checkpoint) -> MimiConfig:
    """Parse the checkpoint's configuration; without one, the published one, which the tensors must fit."""
    return parse(checkpoint.config if describes(checkpoint.config) else PUBLISHED)


def variant_of(checkpoint: Checkpoint) -> str | None:
    """Name of the published variant whose network the checkpoint holds, or None."""
    return matching_variant(_config_of(checkpoint), VARIANTS, parse)


def load(name: str, checkpoint: Checkpoint) -> Codec:
    """Load the codec strictly: CheckpointMismatchError names every tensor that does not fit."""
    config = _config_of(checkpoint)
    with torch.device("meta"):
        network = Network(config)
    heads, layout = config.transformer.num_heads, mimi_names.layout_of(checkpoint.tensors)
    if layout is None:
        raise UnsupportedNetworkError(
            f"{checkpoint.source}: no tensors of Mimi's quantizer in Kyutai's or Hugging Face's layout"
        )
    published = network.published()
    expected = mimi_names.to_hugging_face(published, heads) if layout == "safetensors" else published
    constants = constants_of(expected)
    shapes = {name: tensor.shape for name, tensor in expected.items()}
    check_strictly(shapes, constants, checkpoint.tensors, checkpoint.source)
    tensors = checkpoint.tensors
    if layout == "safetensors":
        tensors = mimi_names.to_kyutai(tensors, published, heads)
    network.assign(tensors)
    return _codec(name, config, network, checkpoint.sha256)


def constants_of(published: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors among the published ones that have the same value in every checkpoint."""
    return {name: tensor for name, tensor in published.items() if tensor is _INITIALIZED}


def outline(name: str, config: Mapping[str, Any]) -> Codec:
    """The codec that ``config`` describes, with empty weights."""
    parsed = parse(config)
    return _codec(name, parsed, Network(parsed), "")


def _codec(name: str, config: MimiConfig, network: Network, checkpoint_sha256: str) -> Codec:
    parts = (network.quantizer, network.decoder, network.encoder)
    return finished_codec(name, _geometry(config, network), network, parts, checkpoint_sha256)


def _geometry(config: MimiConfig, network: Network) -> Geometry:
    decoder, encoder, hop = network.decoder, network.encoder, config.samples_per_frame
    return Geometry(
        sample_rate_hz=config.sample_rate_hz,
        samples_per_frame=hop,
        num_channels=1,
        num_codebooks=config.num_codebooks,
        min_codebooks=1,
        default_codebooks=min(_DEFAULT_CODEBOOKS, config.num_codebooks),
        codebook_size=config.codebook_size,
        latent_dim=config.dim,
        causal=True,
        encode_causal=True,
        min_frames=1,
        lookaround_frames=reach_of(decoder.chain())[0],
        encode_lookaround_frames=ceil(reach_of(encoder.chain())[0] / hop),
    )


def in_layout(tensors: Mapping[str, Tensor], layout: str, config: Mapping[str, Any]) -> dict[str, Tensor]:
    """Convert tensors from Kyutai's layout; the layout "safetensors" is Hugging Face's."""
    if layout != "safetensors":
        return dict(tensors)
    return mimi_names.to_hugging_face(tensors, parse(config).transformer.num_heads)


def seeded_tensors(config: Mapping[str, Any], generator: torch.Generator) -> dict[str, Tensor]:
    """Random weights under Kyutai's names.

    Their scale makes speech give varied tokens, and tokens give audio as loud as speech.
    """
    with torch.device("meta"):
        shapes = Network(parse(config)).published()
    return {name: seeded_tensor(name, tensor, generator) for name, tensor in shapes.items()}


_SPREADS = (
    ("embedding_sum", 0.0, 0.5),
    ("layer_scale", 0.1, 0.02),
    ("bias", 0.0, 0.05),
    (".norm", 1.0, 0.1),
    ("upsample", 0.7, 0.1),
)
"""Mean and spread of the tensors whose name contains a word; all other tensors are weights."""


def seeded_tensor(name: str, like: Tensor, generator: torch.Generator) -> Tensor:
    """A random tensor for a name in Kyutai's layout."""
    if like is _INITIALIZED:
        return _INITIALIZED.clone()
    if name.endswith("cluster_usage"):
        return 1 + 4 * torch.rand(like.shape, generator=generator)
    noise = torch.randn(like.shape, generator=generator)
    for word, mean, spread in _SPREADS:
        if word in name:
            return mean + spread * noise
    fan = 2 * like.shape[0] if "convtr" in name else like[0].numel()
    return noise * (_gain(name, like) / sqrt(fan))


def _gain(name: str, like: Tensor) -> float:
    """Ratio of the standard deviations of a layer's output and input."""
    if name.startswith("encoder.model.0."):
        return 60.0
    if name.startswith("decoder.model.0."):
        return 0.3
    if name.startswith("decoder.model.") and like.shape[0] == 1:
        return 0.5
    return 0.3 if ".block." in name else 1.05
