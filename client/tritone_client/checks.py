"""What a caller can get wrong, said before anything is sent."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tritone_client.errors import AudioError, TokensError
from tritone_client.info import CodecInfo

__all__ = ["checked_audio", "checked_tokens"]


def checked_tokens(tokens: NDArray[Any], info: CodecInfo) -> NDArray[np.int64]:
    """Tokens [K, T] as the server takes them; TokensError says what is wrong with them."""
    tokens = np.asarray(tokens)
    books, size = info.num_codebooks, info.codebook_size
    if tokens.ndim != 2 or tokens.shape[0] != books:  # noqa: PLR2004
        hint = "; pass several utterances as a list" if tokens.ndim == 3 else ""  # noqa: PLR2004
        raise TokensError(f"{info.name} takes tokens [{books}, T], got {list(tokens.shape)}{hint}")
    if tokens.dtype.kind not in "iu":
        raise TokensError(f"tokens are integers, got {tokens.dtype}")
    if tokens.shape[1] < info.min_frames:
        raise TokensError(f"{info.name} needs at least {info.min_frames} frame(s), got {tokens.shape[1]}")
    outside = (tokens < 0) | (tokens >= size)
    if outside.any():
        book, frame = (int(index[0]) for index in np.nonzero(outside))
        raise TokensError(
            f"tokens of {info.name} are 0..{size - 1}, got {tokens[book, frame]} "
            f"in codebook {book}, frame {frame}"
        )
    return tokens.astype(np.int64)


def checked_audio(
    audio: NDArray[Any],
    sample_rate_hz: int,
    info: CodecInfo,
    resample: Callable[[NDArray[np.float32], int, int], NDArray[np.float32]],
) -> NDArray[np.float32]:
    """Audio [S] at the codec's rate; AudioError says what is wrong with it."""
    audio = np.asarray(audio)
    if audio.ndim != 1:
        raise AudioError(f"audio is one channel [S], got {list(audio.shape)}; mix channels down first")
    if audio.dtype.kind != "f":
        raise AudioError(f"audio is floating point within -1..1, got {audio.dtype}; divide int16 by 32768")
    broken = np.count_nonzero(~np.isfinite(audio))
    if broken:
        raise AudioError(f"audio must be finite, got {broken} NaN or infinite samples")
    if sample_rate_hz <= 0:
        raise AudioError(f"a sample rate is positive, got {sample_rate_hz} Hz")
    samples = audio.astype(np.float32)
    if sample_rate_hz != info.sample_rate_hz and len(samples):
        samples = resample(samples, sample_rate_hz, info.sample_rate_hz)
    if len(samples) < info.min_samples:
        shortest_ms = 1000 * info.min_samples / info.sample_rate_hz
        raise AudioError(
            f"{info.name} needs at least {info.min_samples} samples ({shortest_ms:.0f} ms) at "
            f"{info.sample_rate_hz} Hz, got {len(samples)}; append silence"
        )
    return samples
