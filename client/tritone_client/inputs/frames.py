"""Frames from the flat sequence of tokens that a language model writes."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tritone_client.errors import TokensError
from tritone_client.inputs.arrays import ArrayLike, as_array

__all__ = ["frames_of"]


def frames_of(
    tokens: Sequence[int] | ArrayLike, num_codebooks: int, drop_remainder: bool = False
) -> NDArray[np.int64]:
    """Frames INT64 [T, K] of tokens in sequence: one token per codebook, frame after frame.

    Args:
        tokens: integers of any shape, read row by row.
        num_codebooks: K.
        drop_remainder: leave out an incomplete last frame, as when generation was cut off.

    Raises:
        TokensError: the last frame is incomplete and not left out; or the tokens are not integers.
    """
    flat = as_array(tokens, "tokens are integers", TokensError).ravel()
    if flat.size and flat.dtype.kind not in "iu":
        raise TokensError(f"tokens are integers, got {flat.dtype}")
    remainder = flat.size % num_codebooks
    if remainder and not drop_remainder:
        raise TokensError(
            f"{flat.size} tokens are {flat.size // num_codebooks} frames of {num_codebooks} and "
            f"{remainder} more; generate the rest of that frame, or leave it out with drop_remainder=True"
        )
    return flat[: flat.size - remainder].astype(np.int64).reshape(-1, num_codebooks)
