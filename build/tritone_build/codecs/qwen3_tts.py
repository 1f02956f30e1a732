"""Qwen3-TTS-Tokenizer-12Hz: Mimi's encoder, and a causal decoder of its own.

After qwen_tts/core/tokenizer_12hz/modeling_qwen3_tts_tokenizer_v2.py of qwen-tts 0.1.1. Three facts of that
code matter to a caller:

- The decoder here equals the class's whole forward. The class's ``chunked_decode`` starts anew every 300
  frames with 25 frames of context, so its audio differs from there on.
- The encoder's attention sees the last 250 steps (10 s), as in transformers 5. transformers 4.57, which
  qwen-tts 0.1.1 requires, lets it see everything before; tokens of the first 10 s are the same.
- A last frame that is not full is padded with zeros in the audio, as the class pads the shorter clips of a
  batch; the class pads the activations of a single clip.

Decoder and encoder have a copy of the codebooks each. Both are read, and each half uses its own.
"""

from collections.abc import Iterator, Mapping
from math import ceil, sqrt
from typing import Any

import torch
from torch import Tensor, nn

from tritone_build.checkpoints.checkpoint import Checkpoint
from tritone_build.codecs import mimi
from tritone_build.codecs.base import Codec, Geometry, Variant, finished_codec, matching_variant
from tritone_build.codecs.configs.qwen3_tts import PUBLISHED, Qwen3TtsConfig, describes, parse
from tritone_build.codecs.names import mimi as mimi_names
from tritone_build.codecs.names import qwen3_tts as qwen3_tts_names
from tritone_build.codecs.nested import has_signature
from tritone_build.codecs.strict import check_strictly
from tritone_build.layers.quantizers.rvq import SplitResidualQuantizer
from tritone_build.layers.reach import reach_of
from tritone_build.layers.transformer import RMSNorm, Transformer, normalized
from tritone_build.layers.unfolded import UnfoldedConv1d, product
from tritone_build.layers.upsampling import ConvNeXtUpsample, SnakeDecoder
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
    Variant(
        "qwen3_tts_12hz",
        "Qwen/Qwen3-TTS-Tokenizer-12Hz",
        PUBLISHED,
        sha256="836b7b357f5ea43e889936a3709af68dfe3751881acefe4ecf0dbd30ba571258",
    ),
)
LAYOUTS: tuple[str, ...] = ("safetensors",)
NORMALIZED: tuple[str, ...] = ()
SIGNATURE: tuple[str, ...] = (
    "decoder.pre_transformer.",
    "decoder.quantizer.",
    "encoder.encoder_transformer.",
    "encoder.quantizer.",
)
_PRE_KERNEL, _BLOCK_KERNEL = 3, 7
_ENCODER = "encoder."


class Qwen3TtsDecoder(nn.Module):
    """Latent [B, D, T] -> audio [B, T * hop] in -1..1."""

    def __init__(self, config: Qwen3TtsConfig):
        super().__init__()
        hidden, dim = config.hidden_dim, config.transformer.dim
        self.pre_conv = UnfoldedConv1d(config.latent_dim, hidden, _PRE_KERNEL)
        self.input_proj = nn.Linear(hidden, dim)
        self.transformer = Transformer(config.transformer)
        self.norm = RMSNorm(dim, config.transformer.norm_eps)
        self.output_proj = nn.Linear(dim, hidden)
        self.upsample = nn.ModuleList(
            ConvNeXtUpsample(hidden, ratio, _BLOCK_KERNEL) for ratio in config.ratios
        )
        self.snake = SnakeDecoder(config.snake)

    def chain(self) -> Iterator[nn.Module]:
        """The layers in the order in which they run."""
        yield from (self.pre_conv, self.transformer, *self.upsample, *self.snake.chain())

    def forward(self, latent: Tensor, state: State) -> Tensor:
        """See the class."""
        x = self.pre_conv(latent.transpose(1, 2), state)
        x = self.transformer(_mapped(self.input_proj, x), state)
        x = _mapped(self.output_proj, normalized(self.norm, x))
        for stage in self.upsample:
            x = stage(x, state)
        audio: Tensor = self.snake(x, state)
        return audio.clamp(-1.0, 1.0)


def _mapped(linear: nn.Linear, x: Tensor) -> Tensor:
    return product(x, linear.weight.T, linear.bias)


class TwoQuantizers(nn.Module):
    """The encoder's quantizer and the decoder's: tokens INT64 [B, K, T], latent [B, D, T]."""

    def __init__(self, encoder: SplitResidualQuantizer, decoder: SplitResidualQuantizer, num_codebooks: int):
        super().__init__()
        self.encoder, self.decoder, self.num_codebooks = encoder, decoder, num_codebooks

    def quantize(self, latent: Tensor) -> Tensor:
        """Latent of the encoder -> tokens of the codebooks that are used."""
        return self.encoder.quantize(latent, self.num_codebooks)

    def dequantize(self, tokens: Tensor) -> Tensor:
        """Tokens, each in range, -> latent for the decoder."""
        return self.decoder.dequantize(tokens)


class DecoderNetwork(nn.Module):
    """Decoder and its quantizer, whose projection into the codebooks is published but unused."""

    def __init__(self, config: Qwen3TtsConfig):
        super().__init__()
        self.decoder = Qwen3TtsDecoder(config)
        self.quantizer = SplitResidualQuantizer(
            config.num_codebooks, config.codebook_size, config.codebook_dim, config.latent_dim
        )

    def by_name(self) -> dict[str, Tensor]:
        """Parameters by their names in :mod:`tritone_build.codecs.names.qwen3_tts`."""
        return {name.removeprefix("decoder."): each for name, each in self.named_parameters()}


class Network(nn.Module):
    """Encoder and decoder, each with its quantizer."""

    def __init__(self, config: Qwen3TtsConfig):
        super().__init__()
        self.config = config
        self.encoding, self.decoding = mimi.EncoderNetwork(config.encoder), DecoderNetwork(config)
        self.sizes = config.transformer.num_heads, len(config.snake.rates)

    @property
    def quantizer(self) -> TwoQuantizers:
        """Both quantizers as one."""
        return TwoQuantizers(self.encoding.quantizer, self.decoding.quantizer, self.config.num_codebooks)

    def published(self) -> dict[str, Tensor]:
        """Tensors by published name; without data on the meta device."""
        encoder = as_published(self.encoding.published(), self.config)
        return encoder | qwen3_tts_names.to_published(self.decoding.by_name(), *self.sizes)

    def assign(self, tensors: Mapping[str, Tensor]) -> None:
        """Take over the tensors of :meth:`published`."""
        inner = {n.removeprefix(_ENCODER): t for n, t in tensors.items() if n.startswith(_ENCODER)}
        names, heads = self.encoding.published(), self.config.encoder.transformer.num_heads
        self.encoding.assign(mimi_names.to_kyutai(inner, names, heads))
        found = qwen3_tts_names.from_published(tensors, self.decoding.by_name(), *self.sizes)
        own = {name: name if name.startswith("quantizer.") else f"decoder.{name}" for name in found}
        self.decoding.load_state_dict({own[name]: tensor for name, tensor in found.items()}, assign=True)


def as_published(encoder: Mapping[str, Tensor], config: Qwen3TtsConfig) -> dict[str, Tensor]:
    """The encoder's tensors by published name, from those in Kyutai's layout."""
    there = mimi_names.to_hugging_face(encoder, config.encoder.transformer.num_heads)
    return {f"{_ENCODER}{name}": tensor for name, tensor in there.items()}


def recognises(checkpoint: Checkpoint) -> bool:
    """Whether the checkpoint is of this family, supported or not."""
    return describes(checkpoint.config) or has_signature(checkpoint.tensors, SIGNATURE)


def _config_of(checkpoint: Checkpoint) -> Qwen3TtsConfig:
    """Parse the checkpoint's configuration; without one, the published one, which the tensors must fit.

    A configuration of another kind, such as that of a larger model, counts as none.
    """
    return parse(checkpoint.config if describes(checkpoint.config) else PUBLISHED)


def variant_of(checkpoint: Checkpoint) -> str | None:
    """Name of the published variant whose network the checkpoint holds, or None."""
    return matching_variant(_config_of(checkpoint), VARIANTS, parse)


def load(name: str, checkpoint: Checkpoint) -> Codec:
    """Load the codec strictly: CheckpointMismatchError names every tensor that does not fit."""
    config = _config_of(checkpoint)
    with torch.device("meta"):
        network = Network(config)
    expected = network.published()
    shapes = {there: tensor.shape for there, tensor in expected.items()}
    check_strictly(shapes, mimi.constants_of(expected), checkpoint.tensors, checkpoint.source)
    network.assign(checkpoint.tensors)
    return _codec(name, config, network, checkpoint.sha256)


def outline(name: str, config: Mapping[str, Any]) -> Codec:
    """The codec that ``config`` describes, with empty weights."""
    parsed = parse(config)
    return _codec(name, parsed, Network(parsed), "")


def _codec(name: str, config: Qwen3TtsConfig, network: Network, checkpoint_sha256: str) -> Codec:
    parts = (network.quantizer, network.decoding.decoder, network.encoding.encoder)
    return finished_codec(name, _geometry(config, network), network, parts, checkpoint_sha256)


def _geometry(config: Qwen3TtsConfig, network: Network) -> Geometry:
    hop, books = config.samples_per_frame, config.num_codebooks
    return Geometry(
        sample_rate_hz=config.sample_rate_hz,
        samples_per_frame=hop,
        num_channels=1,
        num_codebooks=books,
        min_codebooks=books,
        default_codebooks=books,
        codebook_size=config.codebook_size,
        latent_dim=config.latent_dim,
        causal=True,
        encode_causal=True,
        min_frames=1,
        lookaround_frames=reach_of(network.decoding.decoder.chain())[0],
        encode_lookaround_frames=ceil(reach_of(network.encoding.encoder.chain())[0] / hop),
    )


def in_layout(tensors: Mapping[str, Tensor], layout: str, config: Mapping[str, Any]) -> dict[str, Tensor]:
    """There is one layout."""
    return dict(tensors)


def seeded_tensors(config: Mapping[str, Any], generator: torch.Generator) -> dict[str, Tensor]:
    """Random weights under their published names.

    Their scale makes speech give varied tokens, and tokens give audio as loud as speech. The logarithms in
    SnakeBeta spread widely, and beta follows alpha: with independent values each layer would amplify rounding
    errors several times, and FP32 itself would be 56 dB from FP64.
    """
    parsed = parse(config)
    with torch.device("meta"):
        network = Network(parsed)
    encoder = {
        name: mimi.seeded_tensor(name, tensor, generator)
        for name, tensor in network.encoding.published().items()
    }
    decoder = qwen3_tts_names.to_published(network.decoding.by_name(), *network.sizes)
    seeded: dict[str, Tensor] = {}
    for name, tensor in decoder.items():
        seeded[name] = _seeded(name, tensor, generator)
        if name.endswith(".beta"):
            seeded[name] = seeded[name.removesuffix("beta") + "alpha"] + _BETA_SPREAD * seeded[name]
    return as_published(encoder, parsed) | seeded


_SPREADS = (
    ("embedding_sum", 0.0, 1.5),
    ("layer_scale", 0.1, 0.02),
    ("gamma", 0.3, 0.05),
    ("bias", 0.0, 0.02),
    ("norm", 1.0, 0.1),
)
"""Mean and spread of the tensors whose name contains a word; all other tensors are weights."""
_LOG_SCALE, _BETA_SPREAD = 1.5, 0.2
_GAINS = ((".conv2.", 0.3), ("decoder.decoder.", 0.8))
_LAST_GAIN = 0.15


def _seeded(name: str, like: Tensor, generator: torch.Generator) -> Tensor:
    if name.endswith("cluster_usage"):
        return 1 + 4 * torch.rand(like.shape, generator=generator)
    if name.endswith((".alpha", ".beta")):
        return _LOG_SCALE * (2 * torch.rand(like.shape, generator=generator) - 1)
    noise = torch.randn(like.shape, generator=generator)
    for word, mean, spread in _SPREADS:
        if word in name:
            return mean + spread * noise
    gain = _LAST_GAIN if len(like) == 1 else next((gain for part, gain in _GAINS if part in name), 1.0)
    return noise * (gain / sqrt(_fan(name, like)))


def _fan(name: str, like: Tensor) -> int:
    """Input numbers of each output number."""
    if ".block.1." in name:
        return 2 * len(like)
    return len(like) if name.endswith(".0.conv.weight") and ".upsample." in name else like[0].numel()
