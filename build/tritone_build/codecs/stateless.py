"""The three stateless models that are built from a codec."""

from typing import Any

import torch
from torch import Tensor, nn

from tritone_build.codecs.base import AskedQuantizer, Codec, Quantizer
from tritone_build.guard import require
from tritone_build.layers.wide import widened
from tritone_build.state import whole

__all__ = ["Dequantizer", "Encoder", "Vocoder", "quantized"]


def _steps_within(length: Tensor, steps: int) -> Tensor:
    """[B, 1] lengths -> BOOL [B, steps], true up to each row's length."""
    return torch.arange(steps, device=length.device) < length


class Dequantizer(nn.Module):
    """Tokens INT64 [B, K, T], lengths INT64 [B, 1] -> latent FP32 [B, D, T], lengths INT64 [B, 1].

    Frames after a row's length may hold anything; they are taken for token 0. Everything that a caller
    can get wrong about tokens is refused here, so the vocoder sees only valid latents.
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
        if not geometry.stepwise:
            rule = "all rows of a batch must have equal length, tokens_len = T, for a codec that looks ahead"
            tokens_len = require(tokens_len, tokens_len == frames, rule)
        sent = _steps_within(tokens_len, frames)[:, None]
        in_range = (tokens >= 0) & (tokens < geometry.codebook_size)
        rule = f"tokens must be in 0..{geometry.codebook_size - 1}"
        tokens_len = require(tokens_len, in_range | ~sent, rule)
        return self.quantizer.dequantize(torch.where(in_range & sent, tokens, 0)), tokens_len


class Vocoder(nn.Module):
    """Latent FP32 [B, D, T], lengths INT64 [B, 1] -> audio FP32 [B, T * hop], lengths INT64 [B, 1].

    Audio of more than one channel is [B, C, T * hop]. Audio after a row's length is zero.
    """

    def __init__(self, codec: Codec):
        super().__init__()
        self.hop, self.short = codec.geometry.samples_per_frame, codec.geometry.short_samples
        self.decoder, self.dtype = codec.decoder, codec.dtype

    def forward(self, latent: Tensor, latent_len: Tensor) -> tuple[Tensor, Tensor]:
        """See the class."""
        audio = widened(whole(self.decoder, latent.to(self.dtype), latent_len))
        audio_len = latent_len * self.hop - self.short
        within = _steps_within(audio_len, audio.shape[-1])
        return torch.where(within if audio.ndim == within.ndim else within[:, None], audio, 0.0), audio_len


class Encoder(nn.Module):
    """Audio FP32 [B, S], lengths INT64 [B, 1] -> tokens INT64 [B, K, T], lengths INT64 [B, 1].

    Audio of more than one channel is [B, C, S]. A partial last frame is padded with zeros: T = ceil(S / hop).
    If the encoder runs step by step, tokens after a row's length are 0; otherwise all rows of a batch must
    have the same number of frames. If the codec allows fewer codebooks, K is the third input, INT64
    [1, 1].
    """

    def __init__(self, codec: Codec):
        super().__init__()
        self.geometry, self.encoder, self.quantizer = codec.geometry, codec.encoder, codec.quantizer
        self.dtype = codec.dtype

    def forward(
        self, audio: Tensor, audio_len: Tensor, num_codebooks: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """See the class."""
        hop, fewest = self.geometry.encode_samples_per_frame, self.geometry.min_samples
        samples = audio.shape[-1]
        if self.geometry.num_channels == 1:
            audio = audio[:, None]
        audio_len = require(audio_len, audio_len <= samples, "audio_len must be at most S, the samples sent")
        audio_len = require(audio_len, audio_len >= fewest, f"audio_len must be at least {fewest} samples")
        if self.geometry.encode_whole_s:
            most = self.geometry.encode_whole_s * self.geometry.encode_sample_rate_hz
            rule = f"audio_len must be at most {most} samples: the encoder needs all of an utterance at once"
            audio_len = require(audio_len, audio_len <= most, rule)
        tokens_len = torch.div(audio_len + hop - 1, hop, rounding_mode="floor")
        frames = (samples + hop - 1) // hop
        if not self.geometry.encode_stepwise:
            rule = "all rows of a batch must fill the same number of frames, for an encoder that looks ahead"
            tokens_len = require(tokens_len, tokens_len == frames, rule)
        sent = _steps_within(audio_len, samples)[:, None]
        tokens_len = require(
            tokens_len, torch.isfinite(audio) | ~sent, "audio must be finite: no NaN, no infinity"
        )
        padded = nn.functional.pad(torch.where(sent, audio, 0.0), (0, frames * hop - samples))
        latent = whole(self.encoder, padded.to(self.dtype), tokens_len)
        if num_codebooks is not None:
            most = self.geometry.num_codebooks
            in_range = (num_codebooks >= 1) & (num_codebooks <= most)
            num_codebooks = require(num_codebooks, in_range, f"num_codebooks must be in 1..{most}")
        tokens = quantized(self.quantizer, widened(latent), num_codebooks)
        if self.geometry.encode_stepwise:
            tokens = torch.where(_steps_within(tokens_len, frames)[:, None], tokens, 0)
        return tokens, tokens_len


def quantized(quantizer: Quantizer, latent: Tensor, count: Tensor | None) -> Tensor:
    """Latent [B, D, T] -> tokens [B, count, T]; ``count`` is INT64 of one element in 1..K, None for K."""
    if count is None:
        return quantizer.quantize(latent)
    if isinstance(quantizer, AskedQuantizer):
        tokens = quantizer.quantize_asked(latent, count)
    else:
        tokens = quantizer.quantize(latent)
    number: Any = count.flatten()[0].item()
    torch._check(number >= 1)  # type: ignore[no-untyped-call]
    torch._check(number <= tokens.shape[1])  # type: ignore[no-untyped-call]
    return tokens.narrow(1, 0, number)
