"""Chunk plans: small chunks first, larger ones later, and every frame once."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tritone_client import ChunkPlanError, CodecInfo, TokensError
from tritone_client.streams.chunk_plan import ChunkPlan, PlannedFrames

INFO = CodecInfo("toy", 22050, 1764, 4, 4032, 1, 1764, 28, True, "0" * 64, 4, 4)


def sizes_of(first: int | None, then: int | None, items: list[int]) -> list[int]:
    frames = PlannedFrames(ChunkPlan(first, then), INFO)
    return [np.shape(chunk)[1] for chunk in frames.chunks(np.zeros((4, size), int) for size in items)]


@pytest.mark.parametrize(
    ("first", "then", "sizes"),
    [
        (1, 8, [1, 2, 4, 8, 8, 8, 2]),
        (3, 4, [3, 4, 4, 4, 4, 4, 4, 4, 2]),
        (None, 10, [10, 10, 10, 3]),
        (5, 5, [5, 5, 5, 5, 5, 5, 3]),
        (40, 50, [33]),
    ],
)
def test_chunks_grow_to_their_size_by_doubling(first: int | None, then: int | None, sizes: list[int]) -> None:
    assert sizes_of(first, then, [1] * 33) == sizes_of(first, then, [33]) == sizes


def test_without_later_sizes_frames_are_sent_as_they_come() -> None:
    assert sizes_of(None, None, [3, 1, 7]) == [3, 1, 7]
    assert sizes_of(4, None, [1, 1, 7, 2, 1]) == [4, 5, 2, 1]


@given(
    items=st.lists(st.integers(1, 9), max_size=20),
    first=st.none() | st.integers(1, 9),
    more=st.none() | st.integers(0, 9),
)
def test_every_frame_is_sent_once_in_order(items: list[int], first: int | None, more: int | None) -> None:
    tokens = np.arange(4 * sum(items)).reshape(4, -1) % 4032
    then = None if more is None else (first or 1) + more
    given = np.split(tokens, np.cumsum(items)[:-1], axis=1) if items else []
    sent = list(PlannedFrames(ChunkPlan(first, then), INFO).chunks(given))
    assert np.array_equal(np.concatenate([tokens[:, :0], *sent], axis=1), tokens)


def test_one_frame_needs_no_axis_and_what_is_wrong_is_said() -> None:
    frames = PlannedFrames(ChunkPlan(2, 2), INFO)
    assert frames.push([1, 2, 3, 4]) == []
    with pytest.raises(TokensError, match=r"0\.\.4031, got 5000"):
        frames.push([1, 2, 3, 5000])
    (chunk,) = frames.push([5, 6, 7, 8])
    assert chunk.tolist() == [[1, 5], [2, 6], [3, 7], [4, 8]]
    assert frames.flush() == []


@pytest.mark.parametrize(
    ("first", "then", "message"),
    [
        (0, 8, "first is a positive number of frames, or None; got 0"),
        (1, -3, "then is a positive number of frames, or None; got -3"),
        (1.5, 8, "got 1.5"),
        ("1", 8, "got '1'"),
        (True, 8, "got True"),
        (9, 8, "first=9 and then=8; exchange them"),
    ],
)
def test_impossible_sizes_are_refused_in_words(first: Any, then: Any, message: str) -> None:
    with pytest.raises(ChunkPlanError, match=message):
        ChunkPlan(first, then)
