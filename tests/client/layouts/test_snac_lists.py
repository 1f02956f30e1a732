"""SNAC's lists of codes, and tokens of one rate."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tritone_client import TokensError
from tritone_client.layouts import ORPHEUS, codebooks_of_tokens, tokens_of_codebooks

COUNTS = {3: (1, 2, 4), 4: (4, 8, 16, 32)}


def numbered_lists(books: int, frames: int) -> list[np.ndarray]:
    """Codes that say where they stand: 1000 * codebook + time."""
    return [1000 * book + np.arange(frames * count) for book, count in enumerate(COUNTS[books])]


@given(st.sampled_from([3, 4]), st.integers(0, 6))
def test_there_and_back(books: int, frames: int) -> None:
    lists = numbered_lists(books, frames)
    tokens = tokens_of_codebooks(lists)
    assert tokens.shape == (sum(COUNTS[books]), frames)
    assert tokens.dtype == np.int64
    back = codebooks_of_tokens(tokens)
    assert [each.tolist() for each in back] == [each.tolist() for each in lists]


@given(st.sampled_from([3, 4]), st.integers(1, 6))
def test_rows_are_codebook_by_codebook_each_in_time_order(books: int, frames: int) -> None:
    tokens = tokens_of_codebooks(numbered_lists(books, frames))
    for frame in range(frames):
        expected = [
            1000 * book + count * frame + within
            for book, count in enumerate(COUNTS[books])
            for within in range(count)
        ]
        assert tokens[:, frame].tolist() == expected


def test_orpheus_writes_depth_first_what_snac_lists() -> None:
    """The order of the package: codebook 0; 1; 2, 2; 1; 2, 2."""
    tokens = tokens_of_codebooks([[10], [20, 21], [30, 31, 32, 33]])
    codes = ORPHEUS.ids(tokens) - 128266 - 4096 * np.arange(7)
    assert codes.tolist() == [10, 20, 30, 31, 21, 32, 33]


def test_tensors_of_snac_with_an_axis_for_the_batch() -> None:
    lists = numbered_lists(3, 2)
    tensors = [torch.tensor(each)[None] for each in lists]
    assert np.array_equal(tokens_of_codebooks(tensors), tokens_of_codebooks(lists))


@pytest.mark.parametrize(
    ("lengths", "message"),
    [
        ((2, 4, 7), r"1:2:4; got \[2, 4, 7\]"),
        ((2, 2, 2), r"1:2:4; got \[2, 2, 2\]"),
        ((4, 2, 1), r"1:2:4; got \[4, 2, 1\]"),
        ((5, 10, 20, 40), r"1:2:4:8, in multiples of 4, 8, 16, 32; got \[5, 10, 20, 40\]"),
        ((4, 8, 16, 16), r"got \[4, 8, 16, 16\]"),
        ((1, 2), r"3 lists of codes \(24 kHz\) or 4 .*, got 2"),
        ((), "got 0"),
    ],
)
def test_lists_of_other_lengths_are_refused(lengths: tuple[int, ...], message: str) -> None:
    with pytest.raises(TokensError, match=message):
        tokens_of_codebooks([np.zeros(length, int) for length in lengths])


def test_lists_of_other_types_are_refused() -> None:
    with pytest.raises(
        TokensError, match=r"codes of codebook 1 are \[N\] or \[1, N\], integers, got float64"
    ):
        tokens_of_codebooks([[1], np.array([0.5, 1.0]), [1, 2, 3, 4]])
    with pytest.raises(TokensError, match=r"codebook 0 .* got \[2, 3\]; give one utterance of a batch"):
        tokens_of_codebooks([np.zeros((2, count * 3), int) for count in (1, 2, 4)])


@pytest.mark.parametrize(
    "wrong", [np.zeros((8, 3), int), np.zeros((7, 3)), np.zeros((1, 7, 3), int), 5, "codes"]
)
def test_what_are_no_tokens_of_snac_is_refused(wrong: object) -> None:
    with pytest.raises(TokensError, match=r"tokens of SNAC are \[7, T\]"):
        codebooks_of_tokens(wrong)  # type: ignore[arg-type]
