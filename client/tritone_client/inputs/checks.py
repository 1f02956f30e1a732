"""Checks of what callers give, before anything is sent."""

import operator
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tritone_client.errors import AudioError, TokensError, WholeUtterancesError
from tritone_client.formats.samples import ARRAY_TYPES, float32_of
from tritone_client.info import CodecInfo
from tritone_client.inputs.arrays import as_array

__all__ = [
    "all_checked",
    "checked_audio",
    "checked_codebooks",
    "checked_rate",
    "checked_samples",
    "checked_tokens",
    "refuse_few_frames",
    "refuse_few_samples",
    "refuse_live_streams",
    "tokens_array",
]


def all_checked(items: Sequence[Any], check: Callable[[Any], NDArray[Any]]) -> list[NDArray[Any]]:
    """All utterances, checked; if there are several, the error says which one is wrong."""
    checked = []
    for index, each in enumerate(items):
        try:
            checked.append(check(each))
        except (TokensError, AudioError) as error:
            if len(items) == 1:
                raise
            located = type(error)(f"utterance {index} of {len(items)}, counted from 0: {error}")
            located.utterance = index
            raise located from error
    return checked


def checked_tokens(given: Any, info: CodecInfo, min_frames: int | None = None) -> NDArray[np.int64]:
    """Tokens INT64 [K, T] as the model takes them; TokensError says what is wrong.

    ``min_frames`` is the fewest frames; by default the codec's.
    """
    tokens = tokens_array(given, info)
    size = info.codebook_size
    if tokens.ndim != 2 or not _fits(tokens.shape[0], info):  # noqa: PLR2004
        raise TokensError(
            f"{info.name} takes tokens [{_books(info)}, T], got {list(tokens.shape)}{_hint(tokens, info)}"
        )
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


def tokens_array(tokens: Any, info: CodecInfo) -> NDArray[Any]:
    """Tokens as NumPy views them, in any shape; TokensError for a value that is not an array."""
    return as_array(tokens, f"{info.name} takes tokens [{_books(info)}, T], integers", TokensError)


def _hint(tokens: NDArray[Any], info: CodecInfo) -> str:
    """Part of an error message: what tokens of a wrong shape probably are."""
    if tokens.ndim == 3:  # noqa: PLR2004
        one = "; take tokens[0] of a batch of one" if len(tokens) == 1 else ""
        return f"{one}; pass several utterances as a list"
    if tokens.dtype.kind == "f":
        return f" of {tokens.dtype}; if that is audio, encode it"
    if tokens.ndim == 2 and _fits(tokens.shape[1], info):  # noqa: PLR2004
        return "; if they are [T, K], pass their transpose"
    return ""


def _fits(books: int, info: CodecInfo) -> bool:
    return info.min_codebooks <= books <= info.num_codebooks


def refuse_few_frames(frames: int, info: CodecInfo, least: int | None = None) -> None:
    """TokensError if the codec needs more frames."""
    least = info.min_frames if least is None else least
    if frames < least:
        raise TokensError(f"{info.name} needs at least {least} frame(s), got {frames}")


def checked_codebooks(num_codebooks: int | None, info: CodecInfo) -> int:
    """Number of codebooks that encoding gives; TokensError if the codec cannot encode into as many."""
    if num_codebooks is None:
        return info.default_codebooks
    try:
        books = operator.index(num_codebooks)
    except TypeError:
        books = -1
    if not _fits(books, info):
        raise TokensError(f"{info.name} encodes into {_books(info)} codebooks, got {num_codebooks!r}")
    return books


def _books(info: CodecInfo) -> str:
    fewest, most = info.min_codebooks, info.num_codebooks
    return f"{fewest}..{most}" if fewest < most else f"{most}"


def checked_audio(
    audio: Any,
    sample_rate_hz: int,
    info: CodecInfo,
    resample: Callable[[NDArray[np.float32], int, int], NDArray[np.float32]],
    dtype: str = "float32",
) -> NDArray[np.float32]:
    """Audio FP32 [S] or [C, S] at the encoder's rate; AudioError says what is wrong."""
    samples, rate_hz = checked_samples(audio, info.num_channels, dtype), checked_rate(sample_rate_hz)
    if rate_hz != info.encode_sample_rate_hz and samples.shape[-1]:
        samples = resample(samples, rate_hz, info.encode_sample_rate_hz)
    refuse_few_samples(samples.shape[-1], info)
    if info.whole_utterances_s:
        _refuse_long_utterance(samples.shape[-1], info)
    return samples


def checked_samples(given: Any, channels: int = 1, dtype: str = "float32") -> NDArray[np.float32]:
    """Audio FP32 of any length, [S] for one channel and [C, S] for more; AudioError says what is wrong.

    If the codec has more than one channel, each gets a copy of audio of one channel. ``dtype`` is the type of
    the samples that are given.
    """
    one, kind = "one channel [S]", "floating point within -1..1" if dtype == "float32" else dtype
    expected = one if channels == 1 else f"{channels} channels [{channels}, S], or {one} for all of them"
    audio = as_array(given, f"audio is {expected}, {kind}", AudioError)
    if channels > 1 and audio.ndim == 1:
        audio = audio[None]
    if not _has_channels(audio, channels):
        raise AudioError(f"audio is {expected}, got {list(audio.shape)}; {_advice(audio, channels)}")
    samples = _floats(audio) if dtype == "float32" else _from_integers(audio, dtype)
    return samples.repeat(channels, axis=0) if channels > 1 and len(samples) == 1 else samples


def _floats(audio: NDArray[Any]) -> NDArray[np.float32]:
    if audio.dtype.kind != "f" and audio.dtype.name != "bfloat16":
        raise AudioError(f"audio is floating point within -1..1, got {audio.dtype}{_scale(audio)}")
    with np.errstate(over="ignore"):
        samples: NDArray[np.float32] = audio.astype(np.float32)
    broken = np.count_nonzero(~np.isfinite(samples))
    if broken:
        raise AudioError(f"audio must be finite, got {broken} NaN or infinite samples")
    return samples


def _from_integers(audio: NDArray[Any], dtype: str) -> NDArray[np.float32]:
    """FP32 of integers of any width, such as those of a list, that fit ``dtype``."""
    limits = np.iinfo(ARRAY_TYPES[dtype])
    if audio.size and audio.dtype.kind not in "iu":
        raise AudioError(
            f"audio of dtype {dtype!r} is integers {limits.min}..{limits.max}, got {audio.dtype}; leave out "
            "dtype for floating point"
        )
    if audio.size and (audio.min() < limits.min or audio.max() > limits.max):
        raise AudioError(
            f"audio of dtype {dtype!r} is {limits.min}..{limits.max}, got {audio.min()}..{audio.max()}"
        )
    return float32_of(audio, dtype)


def _has_channels(audio: NDArray[Any], channels: int) -> bool:
    if channels == 1:
        return audio.ndim == 1
    return audio.ndim == 2 and len(audio) in (1, channels)  # noqa: PLR2004


def _advice(audio: NDArray[Any], channels: int) -> str:
    """Part of an error message: what to do with audio of a wrong shape."""
    if channels > 1 and _has_channels(audio.T, channels):
        return "if it is [S, C], pass its transpose"
    if audio.size and audio.size == max(audio.shape, default=0):
        return "drop its axes of length 1"
    if audio.dtype.kind in "iu" and audio.dtype != np.int16:
        return f"if these {audio.dtype} are tokens, decode them"
    return "mix channels down first" if channels == 1 else f"mix it to {channels} channels first"


def _scale(audio: NDArray[Any]) -> str:
    kind = audio.dtype.kind
    if audio.dtype == np.int16:
        return "; pass dtype='int16', or divide it by 32768"
    return f"; divide {audio.dtype} by {2 ** (8 * audio.itemsize - 1)}" if kind == "i" else ""


def checked_rate(sample_rate_hz: Any) -> int:
    """A sample rate in Hz; AudioError unless it is a positive integer."""
    try:
        rate_hz = int(sample_rate_hz)
        whole = rate_hz == sample_rate_hz and rate_hz > 0
    except (TypeError, ValueError, OverflowError):
        whole = False
    if not whole:
        raise AudioError(f"a sample rate is a positive number of Hz, got {sample_rate_hz!r} Hz")
    return rate_hz


def refuse_few_samples(samples: int, info: CodecInfo) -> None:
    """AudioError if the codec needs more samples."""
    if samples < info.min_samples:
        shortest_ms = 1000 * info.min_samples / info.encode_sample_rate_hz
        raise AudioError(
            f"{info.name} needs at least {info.min_samples} samples ({shortest_ms:.0f} ms) at "
            f"{info.encode_sample_rate_hz} Hz, got {samples}; append silence"
        )


def _refuse_long_utterance(samples: int, info: CodecInfo) -> None:
    if samples > info.whole_utterances_s * info.encode_sample_rate_hz:
        seconds = samples / info.encode_sample_rate_hz
        raise AudioError(
            f"{info.name} encodes whole utterances of at most {info.whole_utterances_s} s, because its "
            f"encoder needs all of an utterance at once; got {seconds:.1f} s; cut it at pauses"
        )


def refuse_live_streams(info: CodecInfo) -> None:
    """WholeUtterancesError if the model needs all of an utterance at once."""
    if info.whole_utterances_s:
        raise WholeUtterancesError(
            f"{info.name} has no live encoding, because its encoder needs all of an utterance at once; "
            f"encode whole utterances of at most {info.whole_utterances_s} s"
        )
