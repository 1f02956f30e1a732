"""The interface of a codec family, and what a codec is."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from tritone_build.checkpoints.checkpoint import Checkpoint

__all__ = [
    "AskedQuantizer",
    "Codec",
    "Family",
    "Geometry",
    "Quantizer",
    "Variant",
    "finished_codec",
    "matching_variant",
]


@dataclass(frozen=True)
class Variant:
    """A published checkpoint: its source, and the part of its configuration that describes the network.

    ``source`` is an id on the Hugging Face hub, or a file in this package. ``revision`` and ``sha256`` pin
    it, if known. ``shallow`` describes the same network with fewer layers, for measurements on machines
    with too little memory for the whole network.
    """

    name: str
    source: str
    config: Mapping[str, Any]
    revision: str | None = None
    sha256: str | None = None
    shallow: Mapping[str, Any] | None = None

    @property
    def comes_along(self) -> bool:
        """Whether the checkpoint is a file in this package, so that no hub is needed."""
        return Path(self.source).is_absolute()


@dataclass(frozen=True)
class Geometry:
    """The facts that a caller of a codec must know.

    ``causal``: the decoder never looks ahead. ``lookaround_frames``: how far the decoder looks into the past
    and, unless causal, into the future. ``delay_samples``: how late its audio is when it runs step by step;
    0 for a decoder that is causal, or that looks ahead and cannot run step by step. ``encode_causal``,
    ``encode_lookaround_frames`` and ``encode_delay_frames`` say the same of the encoder. ``short_samples``
    is what decoded audio of T frames lacks: it has T * samples_per_frame - short_samples. Where codebooks run
    at different rates, ``codebook_rows`` says how many rows of tokens each of them has, and the counts of
    codebooks above are counts of rows. ``encode_whole_s``: unless 0, the encoder needs all of an utterance at
    once, which may last so many seconds.
    Decoding takes any number of codebooks from ``min_codebooks`` to ``num_codebooks``; encoding returns
    ``default_codebooks`` unless the caller asks for another number. ``samples_per_frame`` counts the samples
    of one channel. ``encode_sample_rate_hz`` and ``encode_samples_per_frame`` are those of audio to encode,
    by default the same. A frame lasts equally long in both directions. ``position_frames``: unless 0, the
    audio of a frame depends on its number in the signal modulo this, besides the frames around it.
    """

    sample_rate_hz: int
    samples_per_frame: int
    num_channels: int
    num_codebooks: int
    min_codebooks: int
    default_codebooks: int
    codebook_size: int
    latent_dim: int
    causal: bool
    encode_causal: bool
    min_frames: int
    lookaround_frames: int
    encode_lookaround_frames: int
    delay_samples: int = 0
    encode_delay_frames: int = 0
    short_samples: int = 0
    codebook_rows: tuple[int, ...] = ()
    encode_whole_s: int = 0
    encode_sample_rate_hz: int = 0
    encode_samples_per_frame: int = 0
    position_frames: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "encode_sample_rate_hz", self.encode_sample_rate_hz or self.sample_rate_hz)
        hop = self.encode_samples_per_frame or self.samples_per_frame
        object.__setattr__(self, "encode_samples_per_frame", hop)

    @property
    def stepwise(self) -> bool:
        """Whether the decoder runs step by step; then rows of a batch may also differ in length."""
        return self.causal or self.delay_samples > 0

    @property
    def encode_stepwise(self) -> bool:
        """Whether the encoder runs step by step; then rows of a batch may also differ in length."""
        return self.encode_causal or self.encode_delay_frames > 0

    @property
    def delay_frames(self) -> int:
        """Frames after which a stream's audio is complete."""
        return -(-self.delay_samples // self.samples_per_frame)

    @property
    def frame_rate_hz(self) -> float:
        """Frames per second."""
        return self.sample_rate_hz / self.samples_per_frame

    def audio_shape(self, samples: int) -> tuple[int, ...]:
        """Shape of one row of audio: [samples], or [C, samples] for more than one channel."""
        return (samples,) if self.num_channels == 1 else (self.num_channels, samples)

    @property
    def min_samples(self) -> int:
        """Shortest audio that can be encoded: a whole frame, and enough samples for ``min_frames``."""
        hop = self.encode_samples_per_frame
        return max(hop, (self.min_frames - 1) * hop + 1)


class Family(Protocol):
    """A family of codecs, which is a module of this package."""

    VARIANTS: tuple[Variant, ...]
    LAYOUTS: tuple[str, ...]
    """Formats in which checkpoints are published, see :mod:`tritone_build.checkpoints.fixtures`."""
    NORMALIZED: tuple[str, ...]
    """Endings of the names of weights that are published normalized."""
    SIGNATURE: tuple[str, ...]
    """Prefixes of tensor names; only this family has tensors with every one of them.

    One prefix may be several with ``|`` between them, for names that are published in several spellings.
    """

    def recognises(self, checkpoint: Checkpoint) -> bool:
        """Whether the checkpoint is of this family, supported or not."""
        ...

    def variant_of(self, checkpoint: Checkpoint) -> str | None:
        """Name of the published variant whose network the checkpoint holds."""
        ...

    def load(self, name: str, checkpoint: Checkpoint) -> "Codec":
        """The codec with its weights, loaded strictly."""
        ...

    def outline(self, name: str, config: Mapping[str, Any]) -> "Codec":
        """The codec that ``config`` describes, with empty weights."""
        ...

    def seeded_tensors(self, config: Mapping[str, Any], generator: torch.Generator) -> dict[str, Tensor]:
        """Random weights of the network that ``config`` describes, under their published names."""
        ...

    def in_layout(
        self, tensors: Mapping[str, Tensor], layout: str, config: Mapping[str, Any]
    ) -> dict[str, Tensor]:
        """The result of :meth:`seeded_tensors`, with the names and shapes of a layout."""
        ...


class Quantizer(Protocol):
    """Converts between tokens INT64 [B, K, T] and a latent FP32 [B, D, T]."""

    def quantize(self, latent: Tensor) -> Tensor:
        """Latent -> tokens."""
        ...

    def dequantize(self, tokens: Tensor) -> Tensor:
        """Tokens, each in range, -> latent."""
        ...


@runtime_checkable
class AskedQuantizer(Quantizer, Protocol):
    """A quantizer that can leave out codebooks that nobody asked for."""

    def quantize_asked(self, latent: Tensor, count: Tensor) -> Tensor:
        """Latent -> tokens; those after the first ``count`` codebooks, INT64 of one element, may be any."""
        ...


@dataclass(frozen=True)
class Codec:
    """A codec with its weights; ``decoder`` is latent -> audio, ``encoder`` audio [B, C, S] -> latent.

    Decoded audio is [B, S] for one channel and [B, C, S] for more. Encoder and decoder take a
    :class:`tritone_build.state.State` as second argument and compute in the dtype of their input, which is
    ``dtype``. The quantizer always computes in FP32.
    """

    name: str
    geometry: Geometry
    quantizer: Quantizer
    decoder: nn.Module
    encoder: nn.Module
    checkpoint_sha256: str
    dtype: torch.dtype = torch.float32


def matching_variant(
    config: object, variants: Sequence[Variant], parse: Callable[[Mapping[str, Any]], object]
) -> str | None:
    """Name of the variant whose parsed configuration equals ``config``, or None."""
    return next((each.name for each in variants if parse(each.config) == config), None)


def finished_codec(
    name: str,
    geometry: Geometry,
    network: nn.Module,
    parts: tuple[Quantizer, nn.Module, nn.Module],
    checkpoint_sha256: str,
) -> Codec:
    """A codec for inference: its parts are the network's quantizer, decoder and encoder."""
    network.eval().requires_grad_(False)
    quantizer, decoder, encoder = parts
    return Codec(name, geometry, quantizer, decoder, encoder, checkpoint_sha256)
