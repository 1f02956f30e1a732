"""MOSS Audio Tokenizer of OpenMOSS, v2 and Nano: causal transformers at several rates, residual codebooks.

After modeling_moss_audio_tokenizer.py of OpenMOSS/MOSS-Audio-Tokenizer (56df9ee), and for stereo
audio_tokenizer_v2.py of vllm-omni 0.30.0. Encoder and decoder are causal and compute over [B, T, C]; each
transformer has its own window, in a stream of any length. The network itself is mono: two channels are one
signal of twice the rate, left, right, left, right.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from math import ceil, sqrt
from typing import Any

import torch
from torch import Tensor, nn

from tritone_build.checkpoints import weight_norm
from tritone_build.checkpoints.checkpoint import Checkpoint
from tritone_build.codecs.base import Codec, Geometry, Variant, finished_codec, matching_variant
from tritone_build.codecs.configs.moss import Block, MossConfig, PatchConfig, StageConfig, describes, parse
from tritone_build.codecs.configs.moss_published import MOSS, MOSS_NANO, MOSS_V2, shallow
from tritone_build.codecs.names.moss import blocks_in, published_name, respelled
from tritone_build.codecs.nested import has_signature
from tritone_build.codecs.strict import assign_published, check_strictly, published_tensors
from tritone_build.layers.patch import Patch, Unpatch
from tritone_build.layers.quantizers.lfq import ResidualLfq
from tritone_build.layers.reach import reach_of
from tritone_build.layers.transformer import Transformer
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
    "variant_of",
]

VARIANTS: tuple[Variant, ...] = (
    Variant("moss", "OpenMOSS-Team/MOSS-Audio-Tokenizer", MOSS, shallow=shallow(MOSS)),
    Variant("moss_nano", "OpenMOSS-Team/MOSS-Audio-Tokenizer-Nano", MOSS_NANO),
    Variant(
        "moss_v2",
        "OpenMOSS-Team/MOSS-Audio-Tokenizer-v2",
        MOSS_V2,
        revision="f6e20e543b33d2c252a7ef71bdf8aa71e5ff9169",
        shallow=shallow(MOSS_V2),
    ),
)
LAYOUTS: tuple[str, ...] = ("sharded", "safetensors")
# Endings without "quantizer." would also fit the newer names of attention, which is not normalized.
NORMALIZED: tuple[str, ...] = (
    "quantizer.input_proj.weight",
    "quantizer.output_proj.weight",
    *(f"quantizer.quantizers.{book}.in_proj.weight" for book in range(32)),
    *(f"quantizer.quantizers.{book}.out_proj.weight" for book in range(32)),
)

# The decoder is not among them, since that of Nano has its transformers at other places.
SIGNATURE: tuple[str, ...] = ("quantizer.quantizers.", "encoder.1.transformer.layers.")


def _map(channels_in: int, channels_out: int, exists: bool) -> nn.Parameter | None:
    return nn.Parameter(torch.empty(channels_out, channels_in)) if exists else None


def _mapped(x: Tensor, weight: Tensor | None) -> Tensor:
    return x if weight is None else x @ weight.T.to(x.dtype)


class Stage(nn.Module):
    """A transformer at one rate: [B, T, channels_in] -> [B, T, channels_out]."""

    def __init__(self, config: StageConfig):
        super().__init__()
        dim = config.transformer.dim
        self.in_weight = _map(config.channels_in, dim, config.maps_in)
        self.transformer = Transformer(config.transformer)
        self.out_weight = _map(dim, config.channels_out, config.maps_out)

    def reach(self, past: int, future: int) -> tuple[int, int]:
        """See :class:`tritone_build.layers.reach.HasReach`."""
        return self.transformer.reach(past, future)

    def forward(self, x: Tensor, state: State) -> Tensor:
        """See the class."""
        return _mapped(self.transformer(_mapped(x, self.in_weight), state), self.out_weight)


class Blocks(nn.Module):
    """An encoder or decoder: blocks that run in order over [B, T, C]."""

    def __init__(self, blocks: Sequence[Block], patch: type[Patch] | type[Unpatch]):
        super().__init__()
        made = (patch(block.size) if isinstance(block, PatchConfig) else Stage(block) for block in blocks)
        self.blocks = nn.ModuleList(made)

    def chain(self) -> Iterator[nn.Module]:
        """The blocks in the order they run."""
        yield from self.blocks

    def run(self, x: Tensor, state: State) -> Tensor:
        """[B, T, C] -> [B, T', C']."""
        for block in self.blocks:
            x = block(x, state)
        return x


class MossDecoder(Blocks):
    """Latent [B, D, T] -> audio [B, T * hop], or [B, C, T * hop] for C > 1 channels; not limited to -1..1."""

    def __init__(self, blocks: Sequence[Block], num_channels: int):
        super().__init__(blocks, Unpatch)
        self.num_channels = num_channels

    def forward(self, latent: Tensor, state: State) -> Tensor:
        """See the class."""
        interleaved = self.run(latent.transpose(1, 2), state)[:, :, 0]
        if self.num_channels == 1:
            return interleaved
        return interleaved.reshape(interleaved.shape[0], -1, self.num_channels).transpose(1, 2)


class MossEncoder(Blocks):
    """Audio [B, C, S], S a multiple of the hop, -> latent [B, D, T]."""

    def __init__(self, blocks: Sequence[Block]):
        super().__init__(blocks, Patch)

    def forward(self, audio: Tensor, state: State) -> Tensor:
        """See the class."""
        interleaved = audio.transpose(1, 2).flatten(1)[:, :, None]
        return self.run(interleaved, state).transpose(1, 2)


class Network(nn.Module):
    """Encoder, decoder and quantizer."""

    def __init__(self, config: MossConfig):
        super().__init__()
        q = config.quantizer
        self.newer_names = config.states_channels
        self.encoder = MossEncoder(config.encoder)
        self.decoder = MossDecoder(config.decoder, config.num_channels)
        self.quantizer = ResidualLfq(q.num_codebooks, q.codebook_size, q.code_dim, q.dim, config.latent_dim)

    def published(self) -> dict[str, Tensor]:
        """Tensors by published name, with weight norm folded; without data on the meta device."""
        return published_tensors(self, self._published_name)

    def assign(self, tensors: Mapping[str, Tensor]) -> None:
        """Take over the tensors of :meth:`published`; those in FP32 are not copied."""
        assign_published(self, self._published_name, tensors)

    def _published_name(self, name: str) -> str:
        return published_name(name, self.newer_names)


def recognises(checkpoint: Checkpoint) -> bool:
    """Whether the checkpoint is of this family, supported or not."""
    return describes(checkpoint.config) or has_signature(checkpoint.tensors, SIGNATURE)


def _config_of(checkpoint: Checkpoint) -> MossConfig:
    """Parse the checkpoint's configuration; without one, the published one with the same blocks."""
    if describes(checkpoint.config):
        return parse(checkpoint.config)
    published, there = [parse(variant.config) for variant in VARIANTS], blocks_in(checkpoint.tensors)
    return next((config for config in published if _stages_of(config) == there), published[0])


def _stages_of(config: MossConfig) -> set[tuple[str, int]]:
    halves = (("encoder", config.encoder), ("decoder", config.decoder))
    return {(half, n) for half, blocks in halves for n, b in enumerate(blocks) if isinstance(b, StageConfig)}


def variant_of(checkpoint: Checkpoint) -> str | None:
    """Name of the published variant whose network the checkpoint holds, or None."""
    return matching_variant(_config_of(checkpoint), VARIANTS, parse)


def load(name: str, checkpoint: Checkpoint) -> Codec:
    """Load the codec strictly: CheckpointMismatchError names every tensor that does not fit."""
    config = _config_of(checkpoint)
    with torch.device("meta"):
        network = Network(config)
    tensors = respelled(weight_norm.fold(checkpoint.tensors), config.states_channels)
    shapes = {name: tensor.shape for name, tensor in network.published().items()}
    check_strictly(shapes, {}, tensors, checkpoint.source)
    network.assign(tensors)
    return _codec(name, config, network, checkpoint.sha256)


def outline(name: str, config: Mapping[str, Any]) -> Codec:
    """The codec that ``config`` describes, with empty weights."""
    parsed = parse(config)
    return _codec(name, parsed, Network(parsed), "")


def _codec(name: str, config: MossConfig, network: Network, checkpoint_sha256: str) -> Codec:
    parts = (network.quantizer, network.decoder, network.encoder)
    return finished_codec(name, _geometry(config, network), network, parts, checkpoint_sha256)


def _geometry(config: MossConfig, network: Network) -> Geometry:
    hop, books = config.samples_per_frame, config.quantizer.num_codebooks
    return Geometry(
        sample_rate_hz=config.sample_rate_hz,
        samples_per_frame=hop,
        num_channels=config.num_channels,
        num_codebooks=books,
        min_codebooks=1,
        default_codebooks=books,
        codebook_size=config.quantizer.codebook_size,
        latent_dim=config.latent_dim,
        causal=True,
        encode_causal=True,
        min_frames=1,
        lookaround_frames=reach_of(network.decoder.chain())[0],
        encode_lookaround_frames=ceil(reach_of(network.encoder.chain())[0] / (hop * config.num_channels)),
    )


def in_layout(tensors: Mapping[str, Tensor], layout: str, config: Mapping[str, Any]) -> dict[str, Tensor]:
    """Names and shapes are the same in all layouts."""
    return dict(tensors)


def seeded_tensors(config: Mapping[str, Any], generator: torch.Generator) -> dict[str, Tensor]:
    """Random weights under their published names.

    Their scale makes speech give varied tokens, and tokens give audio as loud as speech.
    """
    with torch.device("meta"):
        shapes = Network(parse(config)).published()
    first, last = "encoder.1.input_proj", f"decoder.{len(config['decoder_kwargs']) - 2}.output_proj"
    gains = {first: 10.0, last: 0.1, "codebook": 1.0, ".out_proj": 0.3}
    return {name: _seeded(name, tensor, gains, generator) for name, tensor in shapes.items()}


_SPREADS = ((r"layer_scale", 0.1, 0.02), (r"\.norm\d\.weight", 1.0, 0.1), (r"bias", 0.0, 0.05))
"""Mean and spread of the tensors whose name matches; all other tensors are weights."""


def _seeded(name: str, like: Tensor, gains: Mapping[str, float], generator: torch.Generator) -> Tensor:
    noise = torch.randn(like.shape, generator=generator)
    for pattern, mean, spread in _SPREADS:
        if re.search(pattern, name):
            return noise.mul_(spread).add_(mean)
    gain = next((gain for part, gain in gains.items() if part in name), 1.05)
    return noise.mul_(gain / sqrt(like[0].numel()))
