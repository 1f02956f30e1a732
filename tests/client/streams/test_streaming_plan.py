"""Chunks of streams: for pieces of any size, the answers join to the answer to one request."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from tritone_client import CodecInfo, TokensError
from tritone_client.streams.chunking import Chunker, FrameChunker, Piece, WindowChunker
from tritone_client.streams.live import AudioInput, TokenInput

INFO = CodecInfo("toy", 22050, 1764, 4, 4032, 1, 1764, 28, True, "0" * 64, 4, 4)
CHOICE = replace(INFO, num_codebooks=32, min_codebooks=1, default_codebooks=8)
HOP = 3
Samples = NDArray[np.float64]


def frames_of(samples: Samples) -> NDArray[np.float64]:
    """A toy encoder: one number per frame; the last frame is padded with zeros."""
    filled = np.concatenate([samples, np.zeros(-len(samples) % HOP)])
    weighted: NDArray[np.float64] = filled.reshape(-1, HOP) @ np.array([1.0, 100.0, 10000.0])
    return weighted


def network(values: NDArray[np.float64], before: int, after: int) -> NDArray[np.float64]:
    """A toy network: every frame with its context on both sides; a missing neighbour differs from a zero."""
    padded = np.concatenate([np.full(before, -1.0), values, np.full(after, -2.0)])
    kernel = np.arange(1.0, before + after + 2)
    return np.convolve(padded, kernel[::-1], "valid") if len(values) else values


def cut(samples: Samples, sizes: list[int]) -> list[Samples]:
    """The samples in pieces of these sizes over and over, empty ones included."""
    pieces, start = [], 0
    while start < len(samples):
        for size in sizes:
            pieces.append(samples[start : start + size])
            start += size
    return pieces


def pieces_of(chunker: Chunker, pushed: list[Samples]) -> list[Piece]:
    return [piece for data in pushed for piece in chunker.push(data)] + chunker.flush()


sizes = st.lists(st.integers(0, 20), min_size=1, max_size=6).filter(any)


@given(total=st.integers(1, 120), sizes=sizes, longest=st.integers(1, 9))
def test_a_model_that_remembers_is_sent_every_frame_once(total: int, sizes: list[int], longest: int) -> None:
    samples = np.arange(1.0, total + 1)
    sent = pieces_of(FrameChunker(HOP, 1, longest), cut(samples, sizes))
    joined = np.concatenate([piece.data for piece in sent])
    assert np.array_equal(joined, np.concatenate([samples, np.zeros(-total % HOP)]))
    for piece in sent:
        assert (piece.start, piece.stop * HOP) == (0, len(piece.data))
        assert 1 <= piece.stop <= longest


@given(
    total=st.integers(1, 150),
    sizes=sizes,
    longest=st.integers(1, 9),
    before=st.integers(0, 6),
    after=st.integers(0, 6),
    least=st.integers(0, 12),
)
def test_windows_join_to_the_whole(
    total: int, sizes: list[int], longest: int, before: int, after: int, least: int
) -> None:
    samples = np.arange(1.0, total + 1)
    sent = pieces_of(WindowChunker(HOP, 1, longest, before, after, least), cut(samples, sizes))
    answers = [network(frames_of(piece.data), before, after)[piece.start : piece.stop] for piece in sent]
    assert np.array_equal(np.concatenate(answers), network(frames_of(samples), before, after))
    for piece in sent:
        assert len(piece.data) >= min(least, total), "a short end is sent with more of its past"


@given(total=st.integers(1, 60), after=st.integers(0, 6))
def test_frames_come_out_as_soon_as_their_future_has_come(total: int, after: int) -> None:
    chunker, out = WindowChunker(1, 1, 100, 4, after, 1), 0
    for taken in range(1, total + 1):
        out += sum(piece.stop - piece.start for piece in chunker.push(np.zeros(1)))
        assert out == max(0, taken - after)
    assert out + sum(piece.stop - piece.start for piece in chunker.flush()) == total


def test_a_long_stream_holds_only_its_context() -> None:
    chunker = WindowChunker(HOP, 1, 8, before=5, after=2, least=4)
    for _ in range(200):
        longest = max(
            len(piece.data) for piece in chunker.push(np.zeros(4 * HOP)) or [Piece(np.zeros(0), 0, 0)]
        )
        assert longest <= (5 + 8 + 2) * HOP


def test_nothing_came_and_nothing_is_sent() -> None:
    assert FrameChunker(HOP, 1, 4).flush() == []
    assert WindowChunker(HOP, 1, 4, 2, 2, 1).flush() == []


def test_what_is_pushed_may_change_afterwards() -> None:
    """Recorders reuse one buffer for all chunks."""
    buffer, stream_input, chunker = np.full(1000, 0.25), AudioInput(INFO, 22050), FrameChunker(1764, 1, 4)
    assert chunker.push(stream_input.checked(buffer)) == []
    buffer[:] = 0.5
    (piece,) = chunker.push(stream_input.checked(buffer))
    assert piece.data[:1000].tolist() == [0.25] * 1000


def test_a_frame_may_come_without_its_axis_and_k_stays() -> None:
    stream_input = TokenInput(INFO)
    assert stream_input.checked([1, 2, 3, 4]).tolist() == [[1], [2], [3], [4]]
    with pytest.raises(TokensError, match=r"takes tokens \[4, T\], got \[5, 1\]"):
        stream_input.checked([1, 2, 3, 4, 5])
    with pytest.raises(TokensError, match=r"at least 1 frame"):
        stream_input.checked(np.zeros((4, 0), int))


def test_the_number_of_codebooks_stays_within_a_stream() -> None:
    stream_input = TokenInput(CHOICE)
    assert stream_input.checked(np.zeros((8, 2), int)).shape == (8, 2)
    with pytest.raises(TokensError, match="began with 8 codebooks, got 9"):
        stream_input.checked(np.zeros((9, 2), int))
    assert stream_input.checked(np.zeros((8, 1), int)).shape == (8, 1)


def late_model(values: NDArray[np.float64], late: int) -> NDArray[np.float64]:
    """A toy step: two numbers per frame, ``late`` steps late; they need the frame after, or its absence."""
    following = np.append(values[1:], np.nan)
    both = np.stack([values, np.where(np.isnan(following), -1, following)], 1).flatten()
    return np.concatenate([np.full(late, -9.0), both])[: 2 * len(values)]


@given(
    total=st.integers(1, 60),
    sizes=sizes,
    longest=st.integers(1, 9),
    late=st.integers(2, 7),
    short=st.integers(0, 1),
)
def test_a_late_model_is_asked_for_its_rest(
    total: int, sizes: list[int], longest: int, late: int, short: int
) -> None:
    samples = np.arange(1.0, total + 1)
    sent = pieces_of(FrameChunker(1, 2, longest, late, short), cut(samples, sizes))
    joined = np.concatenate([piece.data for piece in sent])
    assert np.array_equal(joined[:total], samples)
    assert len(joined) == total + -(-late // 2)
    assert np.isnan(joined[total:]).all(), "frames after the end"
    whole, at, kept = late_model(joined, late), 0, []
    for piece in sent:
        kept.append(whole[at : at + 2 * len(piece.data)][piece.start : piece.stop])
        at += 2 * len(piece.data)
    expected = late_model(np.append(samples, np.nan), 0)[: 2 * total - short]
    assert np.array_equal(np.concatenate(kept), expected)


def test_tokens_after_the_end_are_minus_one() -> None:
    chunker = FrameChunker(1, 10, 4, late=15)
    assert [(piece.start, piece.stop) for piece in chunker.push(np.zeros((2, 3), np.int64))] == [(15, 30)]
    (rest,) = chunker.flush()
    assert rest.data.tolist() == [[-1, -1]] * 2
    assert (rest.start, rest.stop) == (0, 15)


@given(
    before=st.integers(1, 30),
    total=st.integers(0, 60),
    sizes=sizes,
    longest=st.integers(1, 9),
    late=st.integers(2, 7),
    short=st.integers(0, 1),
)
def test_what_lies_before_a_stream_is_sent_first_and_not_heard(
    before: int, total: int, sizes: list[int], longest: int, late: int, short: int
) -> None:
    values = np.arange(1.0, before + total + 1)
    chunker = FrameChunker(1, 2, longest, late, short)
    sent = chunker.prime(values[:before], 7)
    assert [len(piece.data) for piece in sent] == [7] * (before // 7) + [before % 7] * (before % 7 > 0)
    sent += pieces_of(chunker, cut(values[before:], sizes))
    answers = late_model(np.concatenate([piece.data for piece in sent]), late)
    starts = np.cumsum([0, *(2 * len(piece.data) for piece in sent)])
    heard = [answers[at + piece.start : at + piece.stop] for at, piece in zip(starts, sent, strict=False)]
    whole = late_model(np.append(values, np.nan), 0)[: 2 * len(values) - short]
    assert np.array_equal(np.concatenate(heard), whole[2 * before :])


@given(
    before=st.integers(1, 30),
    total=st.integers(0, 60),
    sizes=sizes,
    sides=st.tuples(st.integers(0, 6), st.integers(0, 6)),
)
def test_windows_begin_behind_what_lies_before_a_stream(
    before: int, total: int, sizes: list[int], sides: tuple[int, int]
) -> None:
    values = np.arange(1.0, before + total + 1)
    chunker = WindowChunker(1, 1, 5, *sides, 1)
    assert chunker.prime(values[:before], 100) == []
    sent = pieces_of(chunker, cut(values[before:], sizes))
    answers = [network(piece.data, *sides)[piece.start : piece.stop] for piece in sent]
    assert np.array_equal(np.concatenate([[], *answers]), network(values, *sides)[before:])
