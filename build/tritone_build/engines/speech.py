"""A sentence of speech to verify engines with, in any codec's own tokens.

The package holds it as tokens of the codec that comes along, which decodes it.
"""

from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from tritone_build.checkpoints.checkpoint import open_checkpoint
from tritone_build.codecs import VARIANTS, load_codec
from tritone_build.codecs.base import Codec
from tritone_build.codecs.stateless import Encoder, Vocoder

__all__ = ["in_channels", "speech_audio", "speech_tokens"]

_DELAY, _QUIETER = 17, 0.8
_TOKENS, _SPEAKER = Path(__file__).with_name("speech_tokens.npy"), "nanocodec_mini"


def speech_audio(codec: Codec, frames: int) -> Tensor:
    """Speech as the codec's encoder takes it, repeated as often as needed: FP32 [1, frames * hop].

    With more than one channel it is [1, C, frames * hop]; see :func:`in_channels`.
    """
    audio, rate_hz = _sentence()
    rate_hz_out, samples = (
        codec.geometry.encode_sample_rate_hz,
        frames * codec.geometry.encode_samples_per_frame,
    )
    length = round(audio.shape[-1] * rate_hz_out / rate_hz)
    converted: Tensor = functional.interpolate(audio[None], size=length, mode="linear")[0]
    mono = converted.repeat(1, -(-samples // length))[:, :samples]
    return in_channels(mono, codec.geometry.num_channels)


def in_channels(mono: Tensor, count: int) -> Tensor:
    """Audio [..., S] in several channels, [..., C, S]; unchanged for one.

    The channels differ: each hears the sound later and quieter than the channel before.
    """
    if count == 1:
        return mono
    heard = [mono.roll(_DELAY * channel, dims=-1) * _QUIETER**channel for channel in range(count)]
    return torch.stack(heard, dim=-2)


def speech_tokens(codec: Codec, frames: int) -> Tensor:
    """The tokens of :func:`speech_audio` by the codec's own encoder in FP32: INT64 [1, K, frames]."""
    audio = speech_audio(codec, frames)
    with torch.no_grad():
        encoder = Encoder(replace(codec, dtype=torch.float32))
        tokens, _ = encoder.forward(audio, torch.tensor([audio.shape[-1:]]))
    return tokens[:, : codec.geometry.default_codebooks]


@cache
def _sentence() -> tuple[Tensor, int]:
    """Audio FP32 [1, S] and its rate in Hz."""
    speaker = load_codec(open_checkpoint(VARIANTS[_SPEAKER].source), _SPEAKER)
    tokens = torch.from_numpy(np.load(_TOKENS)).to(torch.int64)[None]
    with torch.no_grad():
        latent = speaker.quantizer.dequantize(tokens)
        audio, _ = Vocoder(speaker)(latent, torch.tensor([tokens.shape[2:]]))
    return audio, speaker.geometry.sample_rate_hz
