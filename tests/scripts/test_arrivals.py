"""Utterances that arrive at random: what a listener hears, the knee, and a short run on the real server."""

import asyncio
from argparse import ArgumentTypeError
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from scripts.common.report import Row
from scripts.load import arrivals
from scripts.load import generator as load_generator
from scripts.load.__main__ import _loads
from scripts.load.arrivals import (
    ArrivalPlan,
    Point,
    Speech,
    arrival_rows,
    is_over,
    knee,
    knee_range,
    poisson,
    sweep,
)
from scripts.load.generator import ClosedLoad, Generator, OpenLoad, Played, Utterance, generator, play
from scripts.load.parallel import parallel_row
from scripts.load.targets import CodecTarget
from scripts.load.timelines import Heard, Summary, Timing
from tritone_client import Codec
from tritone_server.launcher import TritonServer

NAME = "small_nanocodec"
PERIOD_S = 0.08
TIMING = Timing(PERIOD_S, 100)


def test_arrivals_are_a_poisson_process_with_the_load_from_the_first_second_on() -> None:
    load, seconds = 6.0, 2000.0
    utterances = poisson(load, seconds, PERIOD_S, 40, seed=1)
    counted = [each for each in utterances if each.counted]
    assert all(0 <= each.start_s < seconds for each in counted)
    assert {each.frames for each in counted} == set(range(25, 101))
    apart = np.diff([each.start_s for each in counted])
    assert np.mean(apart) == pytest.approx(5 / load, rel=0.1)
    assert np.std(apart) == pytest.approx(np.mean(apart), rel=0.1), "as exponential ones"
    spans = np.array([(each.start_s, each.start_s + each.frames * PERIOD_S) for each in utterances])
    times = np.arange(0.5, seconds, 5)[:, None]
    live = np.sum((spans[:, 0] <= times) & (times < spans[:, 1]), axis=1)
    assert np.mean(live) == pytest.approx(load, rel=0.1)
    assert utterances[-1].start_s > seconds, "and others arrive as long as counted ones go on"


def test_utterances_in_progress_at_the_start_go_on_with_what_is_left_of_them() -> None:
    early = [each for each in poisson(40.0, 1.0, PERIOD_S, 40, seed=0) if each.start_s < PERIOD_S]
    assert len(early) > 10
    assert all(each.start_s >= 0 for each in early)
    assert min(each.frames for each in early) < 25


def test_the_same_seed_gives_the_same_arrivals_whatever_else_is_measured() -> None:
    first, again, other = (poisson(3.0, 20.0, PERIOD_S, 40, seed) for seed in (5, 5, 6))
    assert first == again != other


def test_an_utterance_begins_where_it_says_and_repeats_the_sample() -> None:
    sample = np.array([[0, 1, 2, 3], [10, 11, 12, 13]])
    tokens = Utterance(0.0, first=6, frames=5).tokens_of(sample)
    assert tokens.tolist() == [[2, 3, 0, 1, 2], [12, 13, 10, 11, 12]]


@pytest.mark.parametrize("text", ["0,2", "-1", "1,inf", "nan"])
def test_loads_are_positive_numbers(text: str) -> None:
    assert _loads("8,1.5,8") == [1.5, 8]
    with pytest.raises(ArgumentTypeError, match=f"positive numbers of utterances, got {text}"):
        _loads(text)


def point(load: float, spoiled: int, of: int = 1000) -> Point:
    return Point(load, load, Summary(of, spoiled, [5.0], [9.0], [5.0], 0.0, []), [0.5])


def test_the_knee_is_the_highest_load_with_fewer_than_one_percent_with_gaps() -> None:
    points = [point(1, 0), point(2, 4), point(4, 9), point(6, 10)]
    assert knee(points) == 4
    assert knee_range(points) == (1, 6), "2 and 4 may be above, 6 may be below"
    assert (knee([point(1, 10)]), knee_range([point(1, 100)])) == (0, (0, 0))
    assert knee([point(1, 0, of=0)]) == 0, "no utterance proves nothing"


@pytest.mark.parametrize(
    ("points", "over"),
    [
        ([], False),
        ([point(1, 0)], False),
        ([point(1, 1, of=12)], False),
        ([point(1, 30)], True),
        ([point(1, 1, of=12), point(2, 1, of=24)], True),
        ([point(1, 1, of=12), point(2, 0, of=24)], False),
    ],
    ids=["nothing yet", "no gaps", "one of twelve may be chance", "surely above", "twice", "once, then not"],
)
def test_a_sweep_ends_when_the_knee_is_passed(points: list[Point], over: bool) -> None:
    assert is_over(points) == over


class Stalling(Generator):
    """Plays without a process; with more than five in progress every utterance has a gap."""

    def __init__(self) -> None:
        self.loads: list[OpenLoad] = []

    def played(self, load: OpenLoad | ClosedLoad) -> Played:
        assert isinstance(load, OpenLoad)
        self.loads.append(load)
        counted = [each for each in load.utterances if each.counted]
        late_s = 0.3 if len(counted) * 5 / 60 > 5 else 0.02
        return Played(
            [Heard(3, [(0.01, 100), (0.1, 100), (2 * PERIOD_S + late_s, 100)]) for _ in counted], [0.25]
        )


def test_a_sweep_gives_the_knee_and_the_figures_of_each_load(monkeypatch: pytest.MonkeyPatch) -> None:
    stalling = Stalling()

    @contextmanager
    def running() -> Iterator[Generator]:
        yield stalling

    monkeypatch.setattr(arrivals, "generator", running)
    plan, told = ArrivalPlan([1, 3, 9, 20], 60.0), list[Point]()
    speech = Speech(np.zeros((2, 40), np.int64), TIMING)
    points = sweep(CodecTarget("server", NAME, "nowhere:1"), speech, plan, told.append)
    assert [each.load for each in points] == [1, 3, 9]
    assert told == points
    found, *rows = arrival_rows(NAME, "server", points, plan)
    assert (found.check, found.value) == ("arrivals_server_knee", 3)
    assert [(row.at, row.value) for row in rows] == [(1, 0), (3, 0), (9, 100)]
    assert rows[2].figures["playable after p99"] == pytest.approx(300)
    assert rows[2].figures["utterances"] == len(
        [each for each in stalling.loads[2].utterances if each.counted]
    )
    assert rows[0].figures["generator p99"] == 0.25


class Fake:
    """A target of the tests, which is also its own connection.

    Its first stream is the warm-up. Of the others, ``failing`` breaks after a frame and ``endless`` never
    comes to its end; none is answered before ``awaited`` of them have begun.
    """

    name = "fake"

    def __init__(self, awaited: int = 0, failing: int | None = None, endless: int | None = None):
        self.awaited, self.failing, self.endless = awaited, failing, endless
        self.opened, self.begun = -1, asyncio.Event()

    @asynccontextmanager
    async def connected(self) -> AsyncIterator["Fake"]:
        yield self

    async def stream(self, tokens: AsyncIterator[NDArray[np.int64]]) -> AsyncIterator[NDArray[Any]]:
        number, self.opened = self.opened, self.opened + 1
        if self.opened >= self.awaited:
            self.begun.set()
        async for frame in tokens:
            if number >= 0:
                await self.begun.wait()
            yield np.zeros(100 * frame.shape[1])
            if number == self.failing:
                raise ConnectionResetError("gone")
        if number == self.endless:
            await asyncio.Event().wait()


def played_on(target: Fake, utterances: list[Utterance]) -> Played:
    return play(OpenLoad(target, np.zeros((2, 40), np.int64), Timing(0.01, 100), utterances))


def test_arrivals_do_not_wait_for_answers() -> None:
    """The first utterance is answered when the last one has begun, or never if that one waited for it."""
    utterances = [Utterance(0.02 * n, n, 3) for n in range(5)]
    played = played_on(Fake(awaited=5), utterances)
    assert [each.error for each in played.heard] == [None] * 5
    firsts = [each.pieces[0][0] for each in played.heard]
    assert firsts[0] > 0.079, "its time counts from its own schedule"


def test_an_utterance_that_fails_is_recorded_and_the_others_go_on() -> None:
    played = played_on(Fake(failing=1), [Utterance(0.02 * n, n, 3) for n in range(3)])
    assert [each.error for each in played.heard] == [None, "ConnectionResetError: gone", None]
    assert [len(each.pieces) for each in played.heard] == [3, 1, 3]


def test_a_measurement_ends_with_its_counted_utterances(monkeypatch: pytest.MonkeyPatch) -> None:
    utterances = [Utterance(0.02 * n, n, 3, counted=n < 2) for n in range(3)]
    assert len(played_on(Fake(endless=2), utterances).heard) == 2
    monkeypatch.setattr(load_generator, "_PATIENCE_S", 0.1)
    (_, silent) = played_on(Fake(endless=1), utterances).heard
    assert "had not come to its end" in (silent.error or "")


def speech_of(server: TritonServer) -> Speech:
    with Codec(NAME, server.url) as codec:
        info = codec.info
        tokens = np.random.default_rng(0).integers(info.codebook_size, size=(info.num_codebooks, 20))
        return Speech(tokens, Timing(1 / info.frame_rate_hz, info.samples_per_frame, info.short_samples))


def test_real_utterances_are_heard_whole_at_their_pace_on_the_server_and_in_process(
    server: TritonServer, repository: Path
) -> None:
    speech = speech_of(server)
    period_s, hop = speech.timing.period_s, speech.timing.samples_per_frame
    frames = round(1.0 / period_s)
    utterances = [Utterance(0.1 * n, n, frames + n, counted=n > 0) for n in range(4)]
    targets = [CodecTarget("server", NAME, server.url), CodecTarget("in_process", NAME, repository)]
    rows: list[Row] = []
    with generator() as running:
        for target in targets:
            load = OpenLoad(target, speech.tokens, speech.timing, utterances)
            played = running.played(load)
            assert [each.frames for each in played.heard] == [frames + 1, frames + 2, frames + 3]
            for each in played.heard:
                assert each.error is None
                assert sum(samples for _, samples in each.pieces) == each.frames * hop
                times = each.frames_at_s(speech.timing)
                assert np.all(times > period_s * np.arange(each.frames)), "no frame before it was emitted"
            assert played.wakes_ms
            assert min(played.wakes_ms) >= 0
            closed = ClosedLoad(target, speech.tokens, speech.timing, utterances, streams=2, seconds=1.0)
            rows.append(parallel_row(NAME, closed, running.played(closed)))
    assert [row.check for row in rows] == ["parallel_server", "parallel_in_process"]
    assert all(row.ok and row.value > 0 for row in rows)
