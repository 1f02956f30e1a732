"""What a listener hears of an utterance, computed from constructed times; and the summaries of many."""

from collections.abc import Sequence
from math import inf

import numpy as np
import pytest
from numpy.typing import NDArray

from scripts.load.generator import ClosedLoad, Played
from scripts.load.parallel import between_ms, first_ms, parallel_row
from scripts.load.targets import CodecTarget
from scripts.load.timelines import Heard, Timing, gaps, interval, percentile, playable_s, summary_of

NAME = "small_nanocodec"
PERIOD_S = 0.08
TIMING = Timing(PERIOD_S, 100)


def frames_at(*late_ms: float) -> NDArray[np.float64]:
    """Frames of one utterance that come so long after they were emitted."""
    return np.array([number * PERIOD_S + late / 1000 for number, late in enumerate(late_ms)])


def heard(*late_ms: float, error: str | None = None) -> Heard:
    return Heard(len(late_ms), [(at, 100) for at in frames_at(*late_ms) if at < inf], error)


@pytest.mark.parametrize(
    ("late_ms", "expected"),
    [
        ((10, 10, 10, 10), 0),
        ((10, 89, 10, 10), 0),
        ((10, 91, 10, 10), 1),
        ((50, 120, 120, 120), 0),
        ((10, 100, 100, 100), 1),
        ((10, 100, 100, 250), 2),
        ((10, 60, 10, inf), 1),
        ((10, inf, inf, inf), 1),
        ((10,), 0),
    ],
    ids=[
        "steady",
        "within the frame in hand",
        "a frame too late once",
        "late from the start, but steadily",
        "after a gap the player is later, so the next ones are in time",
        "later again",
        "the last frame never comes",
        "nothing after the first frame",
        "one frame",
    ],
)
def test_a_gap_is_a_frame_that_is_not_there_when_the_player_needs_it(
    late_ms: Sequence[float], expected: int
) -> None:
    assert gaps(frames_at(*late_ms), PERIOD_S) == expected


def test_a_player_that_starts_when_an_utterance_is_playable_has_no_gap() -> None:
    draw = np.random.default_rng(0)
    for _ in range(50):
        times = frames_at(*np.maximum.accumulate(draw.exponential(60, 20)))
        delay_s = playable_s(times, PERIOD_S)
        needed = delay_s + PERIOD_S * np.arange(20)
        assert np.all(times <= needed + 1e-9)
        assert np.any(times > needed - 1e-3), "a millisecond less, and there is a gap"
    assert playable_s(frames_at(10, 95, 30), PERIOD_S) == pytest.approx(0.095)


def test_a_frame_is_there_when_its_last_sample_is() -> None:
    pieces = [(0.1, 50), (0.2, 150), (0.5, 180)]  # the last frame lacks 20 samples
    times = Heard(4, pieces).frames_at_s(Timing(PERIOD_S, 100, short_samples=20))
    assert times.tolist() == [0.2, 0.2, 0.5, 0.5]
    assert Heard(3, pieces[:1]).frames_at_s(TIMING).tolist() == [inf, inf, inf]
    assert Heard(2).frames_at_s(TIMING).tolist() == [inf, inf]


def test_percentiles_are_measured_values_and_may_be_infinite() -> None:
    values = [float(each) for each in range(1, 101)]
    assert [percentile(values, each) for each in (50, 95, 99, 100)] == [50, 95, 99, 100]
    assert percentile([3.0, 1.0], 99) == 3
    assert percentile([1.0] * 98 + [inf] * 2, 99) == inf
    assert percentile([], 50) == inf


@pytest.mark.parametrize(
    ("found", "of", "low", "high"),
    [(0, 12, 0, 0.2646), (0, 400, 0, 0.00918), (1, 12, 0.0021, 0.3848), (3, 300, 0.00207, 0.02894)],
)
def test_confidence_is_exact(found: int, of: int, low: float, high: float) -> None:
    ends, mirrored = interval(found, of), interval(of - found, of)
    assert list(ends) == pytest.approx([low, high], rel=0.02)
    assert list(mirrored) == pytest.approx([1 - high, 1 - low], rel=0.02)


def test_an_utterance_that_fails_is_spoiled_and_its_silence_is_never_playable() -> None:
    utterances = [
        heard(10, 20, 30),
        heard(10, 100, 95),
        heard(10, 20, inf, error="full"),
        Heard(2, [], "gone"),
    ]
    found = summary_of(utterances, TIMING)
    assert (found.utterances, found.spoiled, found.failures) == (4, 3, ["full", "gone"])
    assert found.first_ms == pytest.approx([10, 10, 10, inf])
    assert found.playable_ms == pytest.approx([30, 100, inf, inf])
    assert found.late_share == (2 + 1 + 2) / 11


def test_riva_terms_are_first_chunk_time_between_chunks_and_throughput() -> None:
    utterances = [Heard(3, [(0.01, 100), (0.02, 100), (0.05, 100)]), Heard(3, [(0.03, 100)]), Heard(2)]
    assert first_ms(utterances) == pytest.approx([10, 30])
    assert between_ms(utterances) == pytest.approx([10, 30])
    target = CodecTarget("server", NAME, "nowhere:1")
    load = ClosedLoad(target, np.zeros((2, 4), np.int64), TIMING, [], streams=4, seconds=2.0)
    row = parallel_row(NAME, load, Played(utterances, audio_s=8.0))
    assert (row.check, row.value, row.at, row.ok) == ("parallel_server", 4.0, 4, True)
    assert row.figures["first avg"] == pytest.approx(20)
    assert row.figures["between p99"] == pytest.approx(30)
    failed = parallel_row(NAME, load, Played([Heard(2, [], "full")]))
    assert not failed.ok
    assert failed.figures["first p50"] == inf
