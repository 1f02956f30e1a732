"""Models that write whole frames, or stacks of them: Qwen3-TTS, CSM and EasyMagpie."""

import numpy as np
import pytest
from helpers.layouts.pieces import assembled, drawn_tokens
from hypothesis import given
from hypothesis import strategies as st

from tritone_client import TokensError
from tritone_client.layouts import CSM, EASY_MAGPIE, QWEN3_TTS, StepLayout

ALL = [QWEN3_TTS, CSM, EASY_MAGPIE]
DRAWN = st.sampled_from(ALL).flatmap(lambda layout: st.tuples(st.just(layout), drawn_tokens(layout, 6)))
SIZES = st.lists(st.integers(0, 4), max_size=5)
each_layout = pytest.mark.parametrize("layout", ALL, ids=lambda layout: layout.model)


def some_tokens(layout: StepLayout, frames: int = 8) -> np.ndarray:
    return np.random.default_rng(0).integers(1, layout.codebook_size, (layout.num_codebooks, frames))


def end_step(layout: StepLayout) -> np.ndarray:
    return np.full((1, layout.num_codebooks * layout.stack), layout.end)


@given(DRAWN, SIZES)
def test_there_and_back_whole_and_in_pieces(drawn: tuple[StepLayout, np.ndarray], sizes: list[int]) -> None:
    layout, tokens = drawn
    tokens = tokens[:, ~layout.ends(tokens.T)]
    ids = layout.ids(tokens)
    assert np.array_equal(layout.frames(ids), tokens)
    assert np.array_equal(assembled(layout, ids, sizes), tokens)
    later = np.concatenate([ids, end_step(layout), np.full_like(ids, 9000)])
    assert np.array_equal(assembled(layout, later, sizes), tokens)


@given(drawn_tokens(EASY_MAGPIE))
def test_a_stack_holds_each_codebook_of_two_frames(tokens: np.ndarray) -> None:
    tokens = tokens[:, : tokens.shape[1] // 2 * 2]
    stacked = EASY_MAGPIE.ids(tokens)
    for step, book, frame in np.ndindex(len(stacked), 8, 2):
        assert stacked[step, 2 * book + frame] == tokens[book, 2 * step + frame]


def test_an_odd_frame_at_the_end_is_one_frame() -> None:
    tokens = some_tokens(EASY_MAGPIE, 5)
    ids = EASY_MAGPIE.ids(tokens)
    assert (ids[-1, 1::2] == 1025).all()
    assert np.array_equal(EASY_MAGPIE.frames(ids), tokens)
    ids[-1, 1::2] = 3
    ids[-1, 7] = 1025  # one codebook is enough
    assert np.array_equal(EASY_MAGPIE.frames(ids), tokens)


def test_steps_of_start_ids_may_come_first() -> None:
    tokens = some_tokens(EASY_MAGPIE)
    start = np.full((1, 16), EASY_MAGPIE.start)
    ids = np.concatenate([start, EASY_MAGPIE.ids(tokens)])
    assert np.array_equal(EASY_MAGPIE.frames(ids), tokens)
    assert np.array_equal(assembled(EASY_MAGPIE, ids, [1, 1]), tokens)
    with pytest.raises(TokensError, match="id 1024 in codebook 0, frame 8 of the utterance"):
        EASY_MAGPIE.frames(np.concatenate([EASY_MAGPIE.ids(tokens), start]))


@each_layout
def test_a_step_gives_its_frames_at_once(layout: StepLayout) -> None:
    assembler = layout.assembler()
    ids = layout.ids(some_tokens(layout))
    assert [assembler.push(step).shape[1] for step in ids] == [layout.stack] * len(ids)
    assembler.push(end_step(layout)[0])
    assert assembler.ended
    assembler.close()


def test_zeros_end_csm_in_all_codebooks_only() -> None:
    tokens = some_tokens(CSM)
    tokens[:31, 4] = 0
    assert np.array_equal(CSM.frames(tokens.T), tokens)
    tokens[31, 4] = 0
    assert np.array_equal(CSM.frames(tokens.T), tokens[:, :4])
    with pytest.raises(TokensError, match="frame 4 would mean the end to CSM: all its codes are 0"):
        CSM.ids(tokens)


def test_the_end_of_qwen3_counts_in_codebook_0_only() -> None:
    codes = some_tokens(QWEN3_TTS).T
    codes[5, 0] = 2150
    assert np.array_equal(QWEN3_TTS.frames(codes), codes[:5].T)
    codes[3, 1] = 2150
    with pytest.raises(
        TokensError, match=r"id 2150 in codebook 1, frame 3 .* codes of Qwen3-TTS are 0..2047"
    ):
        QWEN3_TTS.frames(codes)


def test_padding_fills_the_end_of_qwen3_only() -> None:
    codes = some_tokens(QWEN3_TTS).T
    padded = np.concatenate([codes, np.full((3, 16), -1)])
    assert np.array_equal(QWEN3_TTS.frames(padded), codes.T)
    assert np.array_equal(assembled(QWEN3_TTS, padded, [9, 1]), codes.T)
    between = np.concatenate([padded, codes[:1]])
    with pytest.raises(TokensError, match=r"frame 11 of the utterance.* comes after padding \(-1\)"):
        QWEN3_TTS.frames(between)
    with pytest.raises(TokensError, match="frame 11"):
        assembled(QWEN3_TTS, between, [10])
    assert np.array_equal(QWEN3_TTS.frames(between, skip=True), codes.T)
    codes[4, 3:] = -1
    with pytest.raises(TokensError, match="id -1 in codebook 3, frame 4"):
        QWEN3_TTS.frames(codes)


@each_layout
def test_an_id_out_of_range_is_refused_or_its_frame_is_left_out(layout: StepLayout) -> None:
    tokens, ids = some_tokens(layout), layout.ids(some_tokens(layout))
    ids[4 // layout.stack, layout.stack] = 5000  # codebook 1 of frame 4
    assembler = layout.assembler()
    first = assembler.push(ids[:1])
    with pytest.raises(TokensError, match="id 5000 in codebook 1, frame 4 of the utterance"):
        assembler.push(ids[1:])
    rest = assembler.push(layout.ids(tokens)[1:])  # nothing of the refused push was taken
    assert np.array_equal(np.hstack([first, rest]), tokens)
    skipping = layout.assembler(skip=True)
    assert np.array_equal(skipping.push(ids), np.delete(tokens, 4, axis=1))
    assert skipping.skipped == layout.num_codebooks


def test_ids_of_another_shape_are_refused() -> None:
    with pytest.raises(
        TokensError, match=r"ids of CSM are steps \[L, 32\], integers, got \[32, 8\].*turn it"
    ):
        CSM.frames(some_tokens(CSM))
    with pytest.raises(TokensError, match=r"steps \[L, 16\], integers, got \[8\]"):
        EASY_MAGPIE.frames(some_tokens(EASY_MAGPIE)[:, 0])
