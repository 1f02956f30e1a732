"""Random tokens and noise as input for any codec."""

import numpy as np
from numpy.typing import NDArray

from tritone_client import CodecInfo

Tokens = NDArray[np.int64]
Audio = NDArray[np.float32]


def tokens_of(info: CodecInfo, frames: int = 60, seed: int = 0, books: int | None = None) -> Tokens:
    """Random tokens [K, T], of all codebooks by default."""
    shape = (books or info.num_codebooks, frames)
    return np.random.default_rng(seed).integers(0, info.codebook_size, shape)


def sound(info: CodecInfo, frames: float, seed: int = 1) -> Audio:
    """Noise to encode, of this many frames: [S], or [C, S] with another noise in each channel."""
    shape = info.audio_shape(round(frames * info.encode_samples_per_frame))
    return (0.3 * np.random.default_rng(seed).standard_normal(shape)).astype(np.float32)
