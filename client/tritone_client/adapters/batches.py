"""Batches of rows that are padded to the longest one, as other projects pass them."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tritone_client.errors import AudioError, TokensError
from tritone_client.inputs.arrays import ArrayLike, as_array

__all__ = ["lengths_of", "padded", "sizes_of"]


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


def padded(rows: list[NDArray[Any]]) -> NDArray[Any]:
    """Rows [..., N] of different N as one array, padded with zeros."""
    longest = max(row.shape[-1] for row in rows)
    return np.stack([np.pad(row, [(0, 0)] * (row.ndim - 1) + [(0, longest - row.shape[-1])]) for row in rows])


def sizes_of(rows: list[NDArray[Any]]) -> NDArray[np.int64]:
    """Lengths N of rows [..., N]."""
    return np.array([row.shape[-1] for row in rows], dtype=np.int64)
