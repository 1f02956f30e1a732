"""Models with a delay pattern: Parler-TTS, Zonos, Dia and Higgs Audio v2."""

import numpy as np
import pytest
from helpers.layouts.pieces import assembled, drawn_tokens
from hypothesis import given
from hypothesis import strategies as st

from tritone_client import TokensError
from tritone_client.layouts import DIA, HIGGS, PARLER, ZONOS, DelayLayout

ALL = [PARLER, ZONOS, DIA, HIGGS]
DRAWN = st.sampled_from(ALL).flatmap(lambda layout: st.tuples(st.just(layout), drawn_tokens(layout)))
SIZES = st.lists(st.integers(0, 9), max_size=8)
each_layout = pytest.mark.parametrize("layout", ALL, ids=lambda layout: layout.model)


def some_tokens(layout: DelayLayout, frames: int = 20) -> np.ndarray:
    return np.random.default_rng(0).integers(0, layout.codebook_size, (layout.num_codebooks, frames))


@given(DRAWN, SIZES)
def test_there_and_back_whole_and_in_pieces(drawn: tuple[DelayLayout, np.ndarray], sizes: list[int]) -> None:
    layout, tokens = drawn
    ids = layout.ids(tokens)
    assert ids.shape == (1 + tokens.shape[1] + max(layout.delays), layout.num_codebooks)
    assert np.array_equal(layout.frames(ids), tokens)
    assert np.array_equal(assembled(layout, ids, sizes), tokens)
    assert np.array_equal(layout.frames(ids[1:]), tokens)  # the step of start ids may be left out
    later = np.concatenate([ids, np.full_like(ids, -7)])  # what comes after the end is never looked at
    assert np.array_equal(assembled(layout, later, sizes), tokens)


def undone(model: str, ids: np.ndarray) -> np.ndarray:
    """Tokens by the formulas of the models' own code, which cut whole sequences [L, K]."""
    length, books = ids.shape
    if model == "Dia":
        starts, pads = ((ids[:, 0] == special).sum() for special in (1026, 1025))
        late = (0, 8, 9, 10, 11, 12, 13, 14, 15)
        return np.array([ids[starts + late[k] : length - pads - 1 + late[k], k] for k in range(books)])
    if model == "Higgs Audio v2":
        delayed = ids[1:]
        return np.array([delayed[k : length - 1 - books + 1 + k, k] for k in range(books)])
    return np.array([ids[k + 1 : length - books + k + 1, k] for k in range(books)])


@given(DRAWN)
def test_frames_agree_with_the_formulas_of_the_models(drawn: tuple[DelayLayout, np.ndarray]) -> None:
    layout, tokens = drawn
    ids = layout.ids(tokens)
    assert np.array_equal(undone(layout.model, ids), layout.frames(ids))


def test_a_delay_pattern_looks_as_drawn() -> None:
    layout = DelayLayout("one", 4, 100, delays=(0, 1, 2, 3), start=101, end=102, pad=103)
    ids = layout.ids(np.array([[0, 1, 2], [10, 11, 12], [20, 21, 22], [30, 31, 32]]))
    assert ids.T.tolist() == [
        [101, 0, 1, 2, 102, 103, 103],
        [101, 101, 10, 11, 12, 102, 103],
        [101, 101, 101, 20, 21, 22, 102],
        [101, 101, 101, 101, 30, 31, 32],
    ]


@each_layout
def test_a_frame_comes_with_the_step_of_its_last_codebook(layout: DelayLayout) -> None:
    assembler = layout.assembler()
    counts = [assembler.push(step).shape[1] for step in layout.ids(some_tokens(layout))]
    late = max(layout.delays)
    assert counts == [0] * (1 + late) + [1] * 20
    assert assembler.ended
    assembler.close()


@each_layout
def test_the_steps_after_the_last_frame_need_not_come(layout: DelayLayout) -> None:
    """Once an end id says that no frame follows, the assembler has ended."""
    tokens = some_tokens(layout, 3)
    steps = np.concatenate([layout.ids(tokens), np.full((1, layout.num_codebooks), layout.pad)])
    assembler = layout.assembler()
    for number, step in enumerate(steps):
        assembler.push(step)
        assert assembler.ended == (number >= 3 + max(layout.delays))


def test_the_first_end_of_any_codebook_counts() -> None:
    """Higgs Audio may end with a later codebook first, and fills the others with the end id at once."""
    ids = HIGGS.ids(some_tokens(HIGGS))
    ids[12, :4] = HIGGS.end  # codebook 3 in step 12 belongs to frame 8
    ids[13:, :4] = HIGGS.end
    assert np.array_equal(HIGGS.frames(ids), some_tokens(HIGGS)[:, :8])


@each_layout
def test_a_model_that_stopped_early_is_reported(layout: DelayLayout) -> None:
    tokens, late = some_tokens(layout), max(layout.delays)
    ids = layout.ids(tokens)[:21]  # the limit came with the last code of codebook 0
    with pytest.raises(TokensError, match=rf"belong to {late} frame\(s\) that are not whole"):
        layout.frames(ids)
    assert np.array_equal(layout.frames(ids, skip=True), tokens[:, : 20 - late])
    lacking = layout.ids(tokens)[:-1]
    with pytest.raises(TokensError, match=rf"{layout.num_codebooks - 1} ids at the end belong to 1 frame"):
        layout.frames(lacking)
    assert np.array_equal(layout.frames(lacking, skip=True), tokens[:, :19])


@each_layout
@pytest.mark.parametrize("wrong", [1030, -1])
def test_an_id_out_of_range_is_refused_at_once_or_its_frame_is_left_out(
    layout: DelayLayout, wrong: int
) -> None:
    tokens, ids = some_tokens(layout), layout.ids(some_tokens(layout))
    ids[1 + 5 + layout.delays[2], 2] = wrong
    assembler = layout.assembler()
    assembler.push(ids[: 6 + layout.delays[2]])
    with pytest.raises(
        TokensError, match=rf"id {wrong} in codebook 2, frame 5: codes of {layout.model} are 0..1"
    ):
        assembler.push(ids[6 + layout.delays[2]])
    skipping = layout.assembler(skip=True)
    assert np.array_equal(skipping.push(ids), np.delete(tokens, 5, axis=1))
    assert skipping.skipped == layout.num_codebooks


@each_layout
def test_steps_without_delays_are_refused(layout: DelayLayout) -> None:
    """Codes whose delays were undone before, or steps from the middle, lack the start ids."""
    with pytest.raises(
        TokensError, match=rf"before that codebook's first frame: .* writes {layout.start} there"
    ):
        layout.frames(some_tokens(layout).T)
    ids = layout.ids(some_tokens(layout))
    ids[2, 3] = 7
    assert np.array_equal(layout.frames(ids, skip=True), some_tokens(layout))


@each_layout
def test_a_refused_push_takes_nothing(layout: DelayLayout) -> None:
    tokens, ids = some_tokens(layout), layout.ids(some_tokens(layout))
    wrong = ids[10:13].copy()
    wrong[2, 0] = 5000
    assembler = layout.assembler()
    first = assembler.push(ids[:10])
    with pytest.raises(TokensError, match="id 5000 in codebook 0, frame 11"):
        assembler.push(wrong)
    assert np.array_equal(np.hstack([first, assembler.push(ids[10:])]), tokens)


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        (PARLER.ids(some_tokens(PARLER)).T, r"steps \[L, 9\], integers, got \[9, 29\].*turn it"),
        (PARLER.ids(some_tokens(PARLER))[None], r"got \[1, 29, 9\]; give one utterance of a batch"),
        (np.zeros((3, 8), int), r"got \[3, 8\]"),
        (np.zeros((3, 9)), "got float64"),
    ],
)
def test_ids_of_another_shape_are_refused(ids: np.ndarray, message: str) -> None:
    with pytest.raises(TokensError, match=message):
        PARLER.frames(ids)


def test_no_steps_are_no_frames() -> None:
    assert PARLER.frames([]).shape == (9, 0)
    assert PARLER.frames(np.full((2, 9), PARLER.start)).shape == (9, 0)
