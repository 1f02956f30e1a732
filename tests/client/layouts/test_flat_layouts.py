"""Models that write one id after the other: Orpheus and KaniTTS."""

import numpy as np
import pytest
import torch
from helpers.layouts.pieces import assembled, drawn_tokens
from hypothesis import given
from hypothesis import strategies as st

from tritone_client import StreamClosedError, TokensError
from tritone_client.adapters.kanitts import codes_of
from tritone_client.layouts import KANITTS, ORPHEUS, FlatLayout

LAYOUTS = st.sampled_from([ORPHEUS, KANITTS])
SIZES = st.lists(st.integers(0, 9), max_size=8)
TOKENS = np.arange(21).reshape(7, 3)
IDS = ORPHEUS.ids(TOKENS)


def orpheus_lists(ids: list[int]) -> list[list[int]]:
    """SNAC's three lists, by the formula of the package: the place follows from the number of the id."""
    codes = [each - 128266 - 4096 * (number % 7) for number, each in enumerate(ids)]
    frames = [codes[begin : begin + 7] for begin in range(0, len(codes), 7)]
    orders = ([0], [1, 4], [2, 3, 5, 6])
    return [[frame[place] for frame in frames for place in order] for order in orders]


@given(LAYOUTS.flatmap(lambda layout: st.tuples(st.just(layout), drawn_tokens(layout))), SIZES)
def test_there_and_back_whole_and_in_pieces(drawn: tuple[FlatLayout, np.ndarray], sizes: list[int]) -> None:
    layout, tokens = drawn
    ids = layout.ids(tokens)
    assert np.array_equal(layout.frames(ids), tokens)
    assert np.array_equal(assembled(layout, ids, sizes), tokens)
    around = np.concatenate([[layout.pad, layout.start], ids, [layout.end, 3, layout.pad, ids.sum()]])
    assert np.array_equal(layout.frames(around), tokens)
    assert np.array_equal(assembled(layout, around, sizes), tokens)


@given(st.lists(st.integers(0, 4095), min_size=7, max_size=35).filter(lambda codes: len(codes) % 7 == 0))
def test_orpheus_orders_codes_as_its_package(codes: list[int]) -> None:
    ids = [128266 + 4096 * (number % 7) + code for number, code in enumerate(codes)]
    first, second, third = orpheus_lists(ids)
    tokens = ORPHEUS.frames(ids)
    assert tokens[0].tolist() == first
    assert tokens[1:3].T.ravel().tolist() == second
    assert tokens[3:].T.ravel().tolist() == third


@given(drawn_tokens(KANITTS))
def test_kanitts_agrees_with_its_adapter(tokens: np.ndarray) -> None:
    ids = KANITTS.ids(tokens)
    assert np.array_equal(codes_of(ids).T, KANITTS.frames(ids))


def test_a_frame_comes_with_its_last_id() -> None:
    assembler = ORPHEUS.assembler()
    counts = [assembler.push(int(each)).shape[1] for each in IDS]
    assert counts == [0, 0, 0, 0, 0, 0, 1] * 3
    assert not assembler.ended
    assert assembler.push([ORPHEUS.end]).shape == (7, 0)
    assert assembler.ended
    assert assembler.push([5]).shape == (7, 0)  # what comes after the end is never looked at
    assembler.close()
    assembler.close()
    with pytest.raises(StreamClosedError, match="make another one for the next utterance"):
        assembler.push(IDS)


@pytest.mark.parametrize("ids", [IDS.tolist(), IDS[None], torch.tensor(IDS), IDS.astype(np.int32)])
def test_ids_may_be_lists_or_arrays_with_an_axis_for_the_batch(ids: object) -> None:
    assert np.array_equal(ORPHEUS.frames(ids), TOKENS)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (
            128009,
            "id 128009, number 8 of the utterance.*place 1 .* takes ids 132362..136457.*start id 128257",
        ),
        (ORPHEUS.start, "id 128257, number 8"),
        (ORPHEUS.pad, "id 128263, number 8"),
        (int(IDS[2]), "id 136467, number 8"),
        (128266 + 7 * 4096, "id 156938, number 8"),
        (-1, "id -1, number 8"),
    ],
)
def test_an_id_in_the_wrong_place_is_refused_or_skipped(wrong: int, message: str) -> None:
    ids = IDS.tolist()
    ids[8] = wrong
    with pytest.raises(TokensError, match=message):
        ORPHEUS.frames(ids)
    whole = ORPHEUS.frames(ids, skip=True)
    assert np.array_equal(whole, TOKENS[:, [0, 2]])


def test_a_refused_push_takes_nothing() -> None:
    assembler = ORPHEUS.assembler()
    first = assembler.push(IDS[:10])
    with pytest.raises(TokensError, match="number 12 of the utterance"):
        assembler.push([*IDS[10:12], 7])
    assert np.array_equal(np.hstack([first, assembler.push(IDS[10:])]), TOKENS)


@given(st.lists(st.sampled_from([1, 128009, ORPHEUS.pad, 160000]), max_size=5), SIZES, st.integers(0, 20))
def test_skipped_ids_that_are_no_audio_cost_no_frame(others: list[int], sizes: list[int], at: int) -> None:
    ids = np.insert(IDS, at, others)
    assert np.array_equal(assembled(ORPHEUS, ids, sizes, skip=True), TOKENS)


@given(st.integers(0, 20), SIZES)
def test_an_id_that_is_missing_costs_its_frame_only(at: int, sizes: list[int]) -> None:
    ids = np.delete(IDS, at)
    expected = np.delete(TOKENS, at // 7, axis=1)
    assert np.array_equal(assembled(ORPHEUS, ids, sizes, skip=True), expected)
    with pytest.raises(TokensError):
        ORPHEUS.frames(ids)


def test_half_a_frame_at_the_end_is_refused_or_left_out() -> None:
    for tail in ([], [ORPHEUS.end]):
        cut = [*IDS[:17], *tail]
        with pytest.raises(TokensError, match=r"3 ids at the end belong to 1 frame\(s\) that are not whole"):
            ORPHEUS.frames(cut)
        assert np.array_equal(ORPHEUS.frames(cut, skip=True), TOKENS[:, :2])
        assembler = ORPHEUS.assembler()
        assert np.array_equal(assembler.push(cut), TOKENS[:, :2])  # the error comes after what is whole
        with pytest.raises(TokensError, match="not whole"):
            assembler.close()


def test_what_was_skipped_is_counted() -> None:
    assembler = ORPHEUS.assembler(skip=True)
    assembler.push([1, *IDS[:9], *IDS[13:17]])  # a text id; a frame of two ids, and a lone last one
    assert assembler.skipped == 4
    assembler.close()
    assert assembler.skipped == 7


@pytest.mark.parametrize("wrong", [[1.5], "<custom_token_10>", None, {"ids": [1]}, [[1, 2], [3, 4]], [True]])
def test_what_are_no_ids_is_refused(wrong: object) -> None:
    with pytest.raises(TokensError, match=r"ids of Orpheus are \[N\], integers"):
        ORPHEUS.frames(wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("tokens", "message"),
    [
        (TOKENS + 4076, r"tokens of Orpheus are 0..4095, got 4096 in row 6, frame 2"),
        (TOKENS - 1, "got -1 in row 0, frame 0"),
        (
            TOKENS.T,
            r"has tokens \[7, T\], integers, got \[3, 7\]; if they are \[T, K\], pass their transpose",
        ),
        (TOKENS[None], r"got \[1, 7, 3\]"),
        (TOKENS / 2, "got float64"),
    ],
)
def test_tokens_that_have_no_ids_are_refused(tokens: np.ndarray, message: str) -> None:
    with pytest.raises(TokensError, match=message):
        ORPHEUS.ids(tokens)
