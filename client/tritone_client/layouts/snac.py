"""SNAC's lists of codes, one for each codebook at a rate of its own, and tokens [K, T] of one rate.

The rows of tokens are the codes of one frame: codebook by codebook, the coarsest first, each in time order::

    24 kHz           K = 7     1 code of codebook 0, 2 of codebook 1, 4 of codebook 2
    32 and 44.1 kHz  K = 60    4, 8, 16 and 32 codes of codebooks 0 to 3

The networks at 32 and 44.1 kHz attend within blocks of 32 of the finest codes, so a block is their frame.
Source: snac 1.2.1 (snac/snac.py).
"""

from collections.abc import Sequence

import numpy as np

from tritone_client.errors import TokensError
from tritone_client.inputs.arrays import ArrayLike, TokensLike, as_array
from tritone_client.layouts.base import Array

__all__ = ["codebooks_of_tokens", "tokens_of_codebooks"]

_COUNTS = {3: (1, 2, 4), 4: (4, 8, 16, 32)}
"""Codes of each codebook in one frame, by the number of codebooks."""


def tokens_of_codebooks(codebooks: Sequence[ArrayLike | Sequence[int]]) -> Array:
    """Tokens INT64 [7, T] or [60, T] of SNAC's lists.

    Args:
        codebooks: three or four lists, as ``SNAC.encode`` returns them: integers [N] or [1, N], the coarsest
            first, each twice as long as the one before.

    Raises:
        TokensError: another number of lists; lists that are not one utterance of integers; lengths that are
            not 1:2:4 or 1:2:4:8; or, for four lists, a first length that is no multiple of 4.
    """
    counts = _COUNTS.get(len(codebooks))
    if counts is None:
        raise TokensError(f"SNAC has 3 lists of codes (24 kHz) or 4 (32 and 44.1 kHz), got {len(codebooks)}")
    lists = [_one_list(codes, book) for book, codes in enumerate(codebooks)]
    lengths = [len(codes) for codes in lists]
    frames = lengths[0] // counts[0]
    if lengths != [frames * count for count in counts]:
        ratio = ":".join(str(count // counts[0]) for count in counts)
        whole = "" if counts[0] == 1 else f", in multiples of {', '.join(map(str, counts))}"
        raise TokensError(f"lengths of SNAC's lists are {ratio}{whole}; got {lengths}")
    return np.concatenate(
        [codes.reshape(frames, count).T for codes, count in zip(lists, counts, strict=True)]
    )


def codebooks_of_tokens(tokens: TokensLike) -> list[Array]:
    """SNAC's three or four lists INT64 [N] of tokens [7, T] or [60, T].

    Raises:
        TokensError: the tokens have another shape, or are no integers.
    """
    expected = "tokens of SNAC are [7, T] (24 kHz) or [60, T] (32 and 44.1 kHz), integers"
    given = as_array(tokens, expected, TokensError)
    counts = {sum(counts): counts for counts in _COUNTS.values()}.get(len(given) if given.ndim else 0)
    if counts is None or given.ndim != 2 or (given.size and given.dtype.kind not in "iu"):  # noqa: PLR2004
        raise TokensError(f"{expected}; got {given.dtype} {list(given.shape)}")
    rows = np.split(given.astype(np.int64), np.cumsum(counts)[:-1])
    return [np.ascontiguousarray(each.T).ravel() for each in rows]


def _one_list(codes: ArrayLike | Sequence[int], book: int) -> Array:
    expected = f"codes of codebook {book} are [N] or [1, N], integers"
    given = as_array(codes, expected, TokensError)
    if not given.ndim or given.size != given.shape[-1]:
        raise TokensError(f"{expected}, got {list(given.shape)}; give one utterance of a batch")
    if given.size and given.dtype.kind not in "iu":
        raise TokensError(f"{expected}, got {given.dtype}")
    return given.astype(np.int64).ravel()
