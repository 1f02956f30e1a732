"""What every codec family gives, and the three models that are made of it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from tritone_build.checkpoints import Checkpoint
from tritone_build.errors import CheckpointMismatchError
from tritone_build.layers.guard import require

__all__ = [
    "Codec",
    "Dequantizer",
    "Encoder",
    "Family",
    "Geometry",
    "Quantizer",
    "Variant",
    "Vocoder",
    "assign_strictly",
]


@dataclass(frozen=True)
class Variant:
    """A published checkpoint: where it is and what its own configuration says of the network.

    ``revision`` and ``sha256`` pin the file where they are known.
    """

    name: str
    hub_id: str
    config: Mapping[str, Any]
    revision: str | None = None
    sha256: str | None = None


@dataclass(frozen=True)
class Geometry:
    """What a caller of a codec must know.

    ``causal`` says that the decoder never looks ahead: rows of a batch may then differ in length.
    ``lookaround_frames`` is how far the decoder looks, to the past and, unless causal, to the
    future; ``encode_lookaround_frames`` the same for the encoder, which looks both ways.
    """

    sample_rate_hz: int
    samples_per_frame: int
    num_codebooks: int
    codebook_size: int
    latent_dim: int
    causal: bool
    min_frames: int
    lookaround_frames: int
    encode_lookaround_frames: int

    @property
    def frame_rate_hz(self) -> float:
        """Frames per second."""
        return self.sample_rate_hz / self.samples_per_frame

    @property
    def min_samples(self) -> int:
        """Shortest audio that can be encoded: one whole frame, and enough for ``min_frames``."""
        return max(self.samples_per_frame, (self.min_frames - 1) * self.samples_per_frame + 1)


class Family(Protocol):
    """A module of this package: one family of codecs."""

    VARIANTS: tuple[Variant, ...]

    def recognises(self, checkpoint: Checkpoint) -> bool:
        """Whether the checkpoint is of this family, supported or not."""
        ...

    def variant_of(self, checkpoint: Checkpoint) -> str | None:
        """Name of the published variant whose network the checkpoint holds."""
        ...

    def load(self, name: str, checkpoint: Checkpoint) -> "Codec":
        """The codec with its weights, loaded strictly."""
        ...

    def seeded_tensors(self, config: Mapping[str, Any], generator: torch.Generator) -> dict[str, Tensor]:
        """Random weights of the network that ``config`` describes, under their published names."""
        ...


class Quantizer(Protocol):
    """Tokens INT64 [B, K, T] from and to latent FP32 [B, D, T]."""

    def quantize(self, latent: Tensor) -> Tensor:
        """Latent -> tokens."""
        ...

    def dequantize(self, tokens: Tensor) -> Tensor:
        """Tokens, each in range, -> latent."""
        ...


@dataclass(frozen=True)
class Codec:
    """A codec with its weights; ``decoder`` is latent -> [B, S], ``encoder`` [B, 1, S] -> latent."""

    name: str
    geometry: Geometry
    quantizer: Quantizer
    decoder: nn.Module
    encoder: nn.Module
    checkpoint_sha256: str


def _steps_within(length: Tensor, steps: int) -> Tensor:
    """[B, 1] lengths -> BOOL [B, steps], true up to each row's length."""
    return torch.arange(steps, device=length.device) < length


class Dequantizer(nn.Module):
    """Tokens INT64 [B, K, T], lengths INT64 [B, 1] -> latent FP32 [B, D, T], lengths INT64 [B, 1].

    Frames after a row's length may hold anything and count as token 0. Everything that a caller
    can get wrong about tokens is refused here, so that the vocoder sees only valid latents.
    """

    def __init__(self, codec: Codec):
        super().__init__()
        self.geometry, self.quantizer = codec.geometry, codec.quantizer

    def forward(self, tokens: Tensor, tokens_len: Tensor) -> tuple[Tensor, Tensor]:
        """See the class."""
        geometry, frames = self.geometry, tokens.shape[2]
        fewest = geometry.min_frames
        rule = "tokens_len must be at most T, the frames sent"
        tokens_len = require(tokens_len, tokens_len <= frames, rule)
        tokens_len = require(tokens_len, tokens_len >= fewest, f"tokens_len must be at least {fewest}")
        if not geometry.causal:
            rule = "all rows of a batch must have equal length, tokens_len = T, for a codec that looks ahead"
            tokens_len = require(tokens_len, tokens_len == frames, rule)
        sent = _steps_within(tokens_len, frames)[:, None]
        in_range = (tokens >= 0) & (tokens < geometry.codebook_size)
        rule = f"tokens must be in 0..{geometry.codebook_size - 1}"
        tokens_len = require(tokens_len, in_range | ~sent, rule)
        return self.quantizer.dequantize(torch.where(in_range & sent, tokens, 0)), tokens_len


class Vocoder(nn.Module):
    """Latent FP32 [B, D, T], lengths INT64 [B, 1] -> audio FP32 [B, T * hop], lengths INT64 [B, 1].

    Audio after a row's length is zero.
    """

    def __init__(self, codec: Codec):
        super().__init__()
        self.hop, self.decoder = codec.geometry.samples_per_frame, codec.decoder

    def forward(self, latent: Tensor, latent_len: Tensor) -> tuple[Tensor, Tensor]:
        """See the class."""
        audio = self.decoder(latent)
        audio_len = latent_len * self.hop
        return torch.where(_steps_within(audio_len, audio.shape[1]), audio, 0.0), audio_len


class Encoder(nn.Module):
    """Audio FP32 [B, S], lengths INT64 [B, 1] -> tokens INT64 [B, K, T], lengths INT64 [B, 1].

    A last frame that is not full is filled up with zeros: T = ceil(S / hop). The rows of a batch
    must have the same number of frames, because the encoder looks ahead.
    """

    def __init__(self, codec: Codec):
        super().__init__()
        self.geometry, self.encoder, self.quantizer = codec.geometry, codec.encoder, codec.quantizer

    def forward(self, audio: Tensor, audio_len: Tensor) -> tuple[Tensor, Tensor]:
        """See the class."""
        hop, samples, fewest = self.geometry.samples_per_frame, audio.shape[1], self.geometry.min_samples
        audio_len = require(audio_len, audio_len <= samples, "audio_len must be at most S, the samples sent")
        audio_len = require(audio_len, audio_len >= fewest, f"audio_len must be at least {fewest} samples")
        tokens_len = torch.div(audio_len + hop - 1, hop, rounding_mode="floor")
        frames = (samples + hop - 1) // hop
        rule = "all rows of a batch must fill the same number of frames, for an encoder that looks ahead"
        tokens_len = require(tokens_len, tokens_len == frames, rule)
        sent = _steps_within(audio_len, samples)
        tokens_len = require(
            tokens_len, torch.isfinite(audio) | ~sent, "audio must be finite: no NaN, no infinity"
        )
        whole = nn.functional.pad(torch.where(sent, audio, 0.0), (0, frames * hop - samples))
        tokens = self.quantizer.quantize(self.encoder(whole[:, None]))
        return tokens, tokens_len


def assign_strictly(
    network: nn.Module,
    names: Mapping[str, str],
    tensors: Mapping[str, Tensor],
    constants: Mapping[str, Tensor],
    source: str,
) -> None:
    """Give a network built on the meta device its weights, in FP32.

    Args:
        network: on the meta device.
        names: name in the checkpoint -> parameter of the network; every parameter is named.
        tensors: of the checkpoint, weight norm folded, training-only networks left out.
        constants: tensors that the checkpoint must repeat with these very values.
        source: named in errors.

    Raises:
        CheckpointMismatchError: names every tensor that is missing, left over or of another shape.
    """
    expected = {there: network.get_parameter(here).shape for there, here in names.items()}
    expected |= {there: tensor.shape for there, tensor in constants.items()}
    missing = [name for name in expected if name not in tensors]
    unexpected = [name for name in tensors if name not in expected]
    misshapen = [
        f"{name} is {list(tensors[name].shape)}, expected {list(shape)}"
        for name, shape in expected.items()
        if name in tensors and tensors[name].shape != shape
    ] + [
        f"{name} is {tensors[name].flatten().tolist()}, expected {constant.flatten().tolist()}"
        for name, constant in constants.items()
        if name in tensors and tensors[name].shape == constant.shape and not tensors[name].equal(constant)
    ]
    if missing or unexpected or misshapen:
        raise CheckpointMismatchError(source, missing, unexpected, misshapen)
    network.load_state_dict({here: tensors[there].float() for there, here in names.items()}, assign=True)
