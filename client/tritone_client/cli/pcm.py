"""Sixteen-bit PCM, as sound devices and pipes want it."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["audio_of", "pcm_of"]


def pcm_of(audio: NDArray[Any]) -> NDArray[np.int16]:
    """Rounded, and clipped to -1..1 first: a sample beyond would come out with the other sign."""
    pcm: NDArray[np.int16] = np.rint(np.clip(audio, -1.0, 1.0) * 32767.0).astype(np.int16)
    return pcm


def audio_of(pcm: bytes) -> NDArray[np.float32]:
    """Audio FP32 within -1..1 of little-endian samples."""
    return np.frombuffer(pcm, dtype="<i2").astype(np.float32) / 32768.0
