"""Whole utterances that arrive at random, at rising load, until listeners hear gaps."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from scripts.common.report import Row
from scripts.common.speech_inputs import tokens_of
from scripts.load.generator import OpenLoad, Utterance, generator
from scripts.load.targets import Target
from scripts.load.timelines import Summary, Timing, interval, percentile, summary_of
from tritone_client import Codec

__all__ = [
    "ArrivalPlan",
    "Point",
    "Speech",
    "arrival_rows",
    "is_over",
    "knee",
    "lengths",
    "poisson",
    "speech_in",
    "sweep",
]

_SHORTEST_S, _LONGEST_S = 2.0, 8.0
"""Utterances have drawn lengths between these, all equally likely."""
_MAX_SPOILED = 0.01
_SPOILED_POINTS = 2


@dataclass(frozen=True)
class Speech:
    """The speech sample as tokens [K, T] of a codec, and the codec's frames."""

    tokens: NDArray[np.int64]
    timing: Timing


def speech_in(repository: Path, codec: str) -> Speech:
    """The speech sample in a codec of a repository, which encodes it in this process."""
    with Codec(codec, repository) as client:
        info = client.info
        timing = Timing(1 / info.frame_rate_hz, info.samples_per_frame, info.short_samples)
        return Speech(tokens_of(client), timing)


@dataclass(frozen=True)
class ArrivalPlan:
    """The offered loads to try, rising.

    Attributes:
        loads: mean numbers of utterances in progress, if all end in time.
        seconds: in which utterances arrive that are counted, for each load.
        seed: of the random arrivals; all targets get the same.
    """

    loads: Sequence[float]
    seconds: float
    seed: int = 0


def lengths(period_s: float) -> tuple[int, int]:
    """Fewest and most frames of an utterance."""
    return max(1, round(_SHORTEST_S / period_s)), max(1, round(_LONGEST_S / period_s))


def poisson(load: float, seconds: float, period_s: float, sample_frames: int, seed: int) -> list[Utterance]:
    """Arrivals of a Poisson process with ``load`` utterances in progress on average.

    The load is there from the first second to the last: utterances that arrived before it go on with what is
    left of them, and further ones arrive until the last counted one can have ended. These are not counted.

    Args:
        load: mean number of utterances in progress.
        seconds: in which counted utterances arrive.
        period_s: duration of a frame.
        sample_frames: frames of the sample, of which each utterance begins with another one.
        seed: of the draws.
    """
    draw = np.random.default_rng([seed, round(1000 * load)])
    shortest, longest = lengths(period_s)
    apart_s = period_s * (shortest + longest) / 2 / load
    utterances, at = [], -longest * period_s
    while (at := at + draw.exponential(apart_s)) < seconds + longest * period_s:
        frames, first = int(draw.integers(shortest, longest + 1)), int(draw.integers(sample_frames))
        said = max(0, ceil(-at / period_s))
        if said < frames:
            rest = Utterance(at + said * period_s, first + said, frames - said, 0 <= at < seconds)
            utterances.append(rest)
    return utterances


@dataclass(frozen=True)
class Point:
    """The measurement at one offered load.

    Attributes:
        load: mean number of utterances in progress, as offered.
        drawn: the mean number that the draws gave, over the time in which counted utterances arrived.
        summary: of the counted utterances.
        wakes_ms: how late the load generator itself was, each time that it waited for a frame to be due.
    """

    load: float
    drawn: float
    summary: Summary
    wakes_ms: Sequence[float]

    @property
    def range(self) -> tuple[float, float]:
        """The share of spoiled utterances with 95 % confidence."""
        return interval(self.summary.spoiled, self.summary.utterances)

    @property
    def formatted(self) -> str:
        """One line for a terminal."""
        found, (low, high) = self.summary, self.range
        text = f"{found.utterances} utterances, {found.spoiled} with gaps ({100 * low:.1f} to "
        text += f"{100 * high:.1f} % with 95 % confidence); first audio {_percentiles(found.first_ms)}, "
        text += (
            f"playable {_percentiles(found.playable_ms)} ms (p50, p95, p99); {100 * found.late_share:.1f} "
        )
        text += f"% of frames late; the generator itself {percentile(self.wakes_ms, 99):.1f} ms late (p99)"
        return f"{text}; {len(found.failures)} failed: {found.failures[0]}" if found.failures else text

    @property
    def figures(self) -> Mapping[str, float]:
        """By name, as columns of a table; times in ms."""
        found = self.summary
        times = {"first audio": found.first_ms, "playable after": found.playable_ms, "frame": found.late_ms}
        return {
            "utterances": float(found.utterances),
            "failed": float(len(found.failures)),
            **{f"{name} p{p}": percentile(each, p) for name, each in times.items() for p in (50, 95, 99)},
            "late frames %": 100 * found.late_share,
            "generator p50": percentile(self.wakes_ms, 50),
            "generator p99": percentile(self.wakes_ms, 99),
        }


def _percentiles(values_ms: Sequence[float]) -> str:
    return ", ".join(f"{percentile(values_ms, percent):.0f}" for percent in (50, 95, 99))


def knee(points: Sequence[Point]) -> float:
    """The highest offered load with fewer than 1 % spoiled utterances; 0 if there is none."""
    return max((each.load for each in points if each.summary.spoiled_share < _MAX_SPOILED), default=0.0)


def knee_range(points: Sequence[Point]) -> tuple[float, float]:
    """The knee with 95 % confidence: loads surely below 1 %, and loads that are not surely above it."""
    surely = max((each.load for each in points if each.range[1] < _MAX_SPOILED), default=0.0)
    perhaps = max((each.load for each in points if each.range[0] < _MAX_SPOILED), default=0.0)
    return surely, perhaps


def is_over(points: Sequence[Point]) -> bool:
    """Whether the knee is passed: surely at the last load, or by the measured share at two loads in a row."""
    last = points[-_SPOILED_POINTS:]
    if not last:
        return False
    spoiled = [each.summary.spoiled_share >= _MAX_SPOILED for each in last]
    return last[-1].range[0] >= _MAX_SPOILED or (len(last) == _SPOILED_POINTS and all(spoiled))


def sweep(
    target: Target, speech: Speech, plan: ArrivalPlan, told: Callable[[Point], None] = lambda point: None
) -> list[Point]:
    """Measure one load after another until the knee is passed; ``told`` gets each point.

    Raises:
        GeneratorError: the load generator's process ended.
        TritoneError: the target could not be reached.
    """
    points: list[Point] = []
    with generator() as running:
        for load in plan.loads:
            timing, frames = speech.timing, speech.tokens.shape[1]
            utterances = poisson(load, plan.seconds, timing.period_s, frames, plan.seed)
            played = running.played(OpenLoad(target, speech.tokens, timing, utterances))
            drawn = sum(each.frames for each in utterances if each.counted) * timing.period_s / plan.seconds
            points.append(Point(load, drawn, summary_of(played.heard, timing), played.wakes_ms))
            told(points[-1])
            if is_over(points):
                break
    return points


def arrival_rows(codec: str, target: str, points: Sequence[Point], plan: ArrivalPlan) -> list[Row]:
    """The knee, and the figures of each load."""
    check, last = f"arrivals_{target}", points[-1]
    how = f"utterances in progress with < {100 * _MAX_SPOILED:g} % of utterances with gaps; Poisson arrivals "
    how += (
        f"for {plan.seconds:g} s at each load, {_SHORTEST_S:g} to {_LONGEST_S:g} s each, seed {plan.seed}; "
    )
    ended = "ended" if is_over(points) else "the knee was not reached; ended"
    how += f"{ended} at {last.load:g}: {last.formatted}"
    found, (low, high) = knee(points), knee_range(points)
    row = Row(codec, f"{check}_knee", found, "in progress", "none", True, how, low, high)
    return [row, *(_point_row(codec, check, each) for each in points)]


def _point_row(codec: str, check: str, point: Point) -> Row:
    low, high = (100 * each for each in point.range)
    value = 100 * point.summary.spoiled_share
    how = f"in progress: {point.load:g}, drawn {point.drawn:.1f}; {point.formatted}"
    return Row(codec, check, value, "%", "none", True, how, low, high, point.load, figures=point.figures)
