"""Conversion to and from 16-bit PCM, the format of audio devices and pipes."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["audio_of", "pcm_of"]


def pcm_of(audio: NDArray[Any]) -> NDArray[np.int16]:
    """PCM INT16 of audio; clipped to -1..1, because a sample beyond would change its sign, and rounded."""
    pcm: NDArray[np.int16] = np.rint(np.clip(audio, -1.0, 1.0) * 32767.0).astype(np.int16)
    return pcm


def audio_of(pcm: bytes) -> NDArray[np.float32]:
    """Audio FP32 [S] within -1..1 of little-endian 16-bit samples."""
    return np.frombuffer(pcm, dtype="<i2").astype(np.float32) / 32768.0
