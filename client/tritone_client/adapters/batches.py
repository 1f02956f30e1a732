"""Batches of rows that are padded to the longest one, as other projects pass them."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tritone_client.errors import AudioError, TokensError
from tritone_client.inputs.arrays import ArrayLike, as_array

__all__ = ["audio_rows", "lengths_of", "padded", "sizes_of"]

_AXES = 3


def lengths_of(
    given: ArrayLike | None, rows: int, most: int, error: type[AudioError] | type[TokensError]
) -> list[int]:
    """The lengths of ``rows`` rows, each at most ``most``; an ``error`` says what is wrong."""
    if not rows:
        raise error("a batch of no rows; give one at least")
    if given is None:
        return [most] * rows
    lengths = as_array(given, f"lengths are one per row, of {rows}, integers", error).ravel()
    fit = (
        lengths.dtype.kind in "iu"
        and len(lengths) == rows
        and bool(((lengths >= 0) & (lengths <= most)).all())
    )
    if not fit:
        raise error(f"lengths are one per row, of {rows}, and at most {most}; got {lengths.tolist()}")
    return [int(length) for length in lengths]


def audio_rows(
    given: ArrayLike, expected: str, lengths: ArrayLike | None, channels: int
) -> list[NDArray[Any]]:
    """The rows of audio [B, C, S] or [B, 1, S], as a codec with C channels takes them.

    Args:
        given: the batch.
        expected: what the batch is, for messages.
        lengths: samples of each row [B]; by default the rows are complete.
        channels: C.

    Returns:
        Each row [S] if it has one channel, else [C, S].

    Raises:
        AudioError: the batch has another shape, or the lengths do not fit it.
    """
    audio = as_array(given, f"{expected}, floating point", AudioError)
    if audio.ndim != _AXES or audio.shape[1] not in (1, channels):
        raise AudioError(f"{expected}, got {list(audio.shape)}")
    samples = lengths_of(lengths, len(audio), audio.shape[2], AudioError)
    cut = [row[:, :length] for row, length in zip(audio, samples, strict=True)]
    return [row[0] for row in cut] if audio.shape[1] == 1 else cut


def padded(rows: list[NDArray[Any]]) -> NDArray[Any]:
    """Rows [..., N] of different N as one array, padded with zeros."""
    longest = max(row.shape[-1] for row in rows)
    return np.stack([np.pad(row, [(0, 0)] * (row.ndim - 1) + [(0, longest - row.shape[-1])]) for row in rows])


def sizes_of(rows: list[NDArray[Any]]) -> NDArray[np.int64]:
    """Lengths N of rows [..., N]."""
    return np.array([row.shape[-1] for row in rows], dtype=np.int64)
