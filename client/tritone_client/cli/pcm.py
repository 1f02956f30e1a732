"""Conversion to and from 16-bit PCM, the format of audio devices and pipes."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["audio_of", "pcm_of", "raw_of"]


def pcm_of(audio: NDArray[Any]) -> NDArray[np.int16]:
    """PCM INT16 of audio of any shape, rounded and clipped to -1..1: a larger sample would wrap around."""
    pcm: NDArray[np.int16] = np.rint(np.clip(audio, -1.0, 1.0) * 32767.0).astype(np.int16)
    return pcm


def raw_of(audio: NDArray[Any]) -> bytes:
    """Little-endian 16-bit samples of audio [S] or [C, S]; one sample of each channel, then the next."""
    return pcm_of(audio.T).astype("<i2").tobytes()


def audio_of(raw: bytes, channels: int = 1) -> NDArray[np.float32]:
    """Audio FP32 within -1..1 of :func:`raw_of`: [S] for one channel, [C, S] for more."""
    samples = np.frombuffer(raw, dtype="<i2").astype(np.float32) / 32768.0
    return samples if channels == 1 else np.ascontiguousarray(samples.reshape(-1, channels).T)
