"""What a caller can get wrong, said before anything is sent."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tritone_client.errors import AudioError, TokensError
from tritone_client.info import CodecInfo

__all__ = [
    "checked_audio",
    "checked_codebooks",
    "checked_rate",
    "checked_samples",
    "checked_tokens",
    "refuse_few_frames",
    "refuse_few_samples",
]


def checked_tokens(tokens: NDArray[Any], info: CodecInfo, min_frames: int | None = None) -> NDArray[np.int64]:
    """Tokens [K, T] as the server takes them; TokensError says what is wrong with them.

    ``min_frames`` is the codec's unless given.
    """
    tokens = np.asarray(tokens)
    size = info.codebook_size
    if tokens.ndim != 2 or not info.min_codebooks <= tokens.shape[0] <= info.num_codebooks:  # noqa: PLR2004
        hint = "; pass several utterances as a list" if tokens.ndim == 3 else ""  # noqa: PLR2004
        raise TokensError(f"{info.name} takes tokens [{_books(info)}, T], got {list(tokens.shape)}{hint}")
    if tokens.dtype.kind not in "iu":
        raise TokensError(f"tokens are integers, got {tokens.dtype}")
    refuse_few_frames(tokens.shape[1], info, min_frames)
    outside = (tokens < 0) | (tokens >= size)
    if outside.any():
        book, frame = (int(index[0]) for index in np.nonzero(outside))
        raise TokensError(
            f"tokens of {info.name} are 0..{size - 1}, got {tokens[book, frame]} "
            f"in codebook {book}, frame {frame}"
        )
    return tokens.astype(np.int64)


def refuse_few_frames(frames: int, info: CodecInfo, least: int | None = None) -> None:
    """TokensError where the codec needs more."""
    least = info.min_frames if least is None else least
    if frames < least:
        raise TokensError(f"{info.name} needs at least {least} frame(s), got {frames}")


def checked_codebooks(num_codebooks: int | None, info: CodecInfo) -> int:
    """How many codebooks encoding gives; TokensError for a number that the codec does not have."""
    if num_codebooks is None:
        return info.default_codebooks
    if not info.min_codebooks <= num_codebooks <= info.num_codebooks:
        raise TokensError(f"{info.name} encodes into {_books(info)} codebooks, got {num_codebooks}")
    return num_codebooks


def _books(info: CodecInfo) -> str:
    fewest, most = info.min_codebooks, info.num_codebooks
    return f"{fewest}..{most}" if fewest < most else f"{most}"


def checked_audio(
    audio: NDArray[Any],
    sample_rate_hz: int,
    info: CodecInfo,
    resample: Callable[[NDArray[np.float32], int, int], NDArray[np.float32]],
) -> NDArray[np.float32]:
    """Audio [S] at the codec's rate; AudioError says what is wrong with it."""
    samples = checked_samples(audio)
    if checked_rate(sample_rate_hz) != info.sample_rate_hz and len(samples):
        samples = resample(samples, sample_rate_hz, info.sample_rate_hz)
    refuse_few_samples(len(samples), info)
    return samples


def checked_samples(audio: NDArray[Any]) -> NDArray[np.float32]:
    """Audio [S] of any length; AudioError says what is wrong with it."""
    audio = np.asarray(audio)
    if audio.ndim != 1:
        raise AudioError(f"audio is one channel [S], got {list(audio.shape)}; mix channels down first")
    if audio.dtype.kind != "f":
        raise AudioError(f"audio is floating point within -1..1, got {audio.dtype}; divide int16 by 32768")
    broken = np.count_nonzero(~np.isfinite(audio))
    if broken:
        raise AudioError(f"audio must be finite, got {broken} NaN or infinite samples")
    return audio.astype(np.float32)


def checked_rate(sample_rate_hz: int) -> int:
    """AudioError unless it is a rate."""
    if sample_rate_hz <= 0:
        raise AudioError(f"a sample rate is positive, got {sample_rate_hz} Hz")
    return sample_rate_hz


def refuse_few_samples(samples: int, info: CodecInfo) -> None:
    """AudioError where the codec needs more."""
    if samples < info.min_samples:
        shortest_ms = 1000 * info.min_samples / info.sample_rate_hz
        raise AudioError(
            f"{info.name} needs at least {info.min_samples} samples ({shortest_ms:.0f} ms) at "
            f"{info.sample_rate_hz} Hz, got {samples}; append silence"
        )
