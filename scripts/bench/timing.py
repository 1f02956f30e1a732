"""Timing several actions in turn, so that a slow moment of the machine affects all of them."""

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import inf

from scripts.common.report import Row

__all__ = ["REPEATS", "Spread", "interleaved_ms", "ratio_row", "spread_of"]

REPEATS = 5
"""Groups of consecutive rounds; the lowest and highest of their medians are the range of a figure."""
_PAUSE_S = 0.005
"""Pause before each action, since idle threads of PyTorch spin for a while: a step of Mimi takes 16 ms
beside them and 10 ms otherwise."""


@dataclass(frozen=True)
class Spread:
    """A median over all rounds, and the lowest and highest median of the repeats."""

    median: float
    low: float
    high: float


def interleaved_ms(
    actions: Sequence[Callable[[], object]], rounds: int, seconds: float = inf
) -> list[list[float]]:
    """Milliseconds of each action in each round; the actions run in turn, after a round of warm-up.

    Args:
        actions: what is timed.
        rounds: the most rounds.
        seconds: for all of them; at least ``REPEATS`` rounds are run, if not fewer are asked for.

    Returns:
        One list per action, with an entry per round.
    """
    began = time.perf_counter()
    _round_ms(actions)
    fitting = min(seconds / (time.perf_counter() - began), rounds)
    taken = [_round_ms(actions) for _ in range(max(min(REPEATS, rounds), int(fitting)))]
    return [list(each) for each in zip(*taken, strict=True)]


def _round_ms(actions: Sequence[Callable[[], object]]) -> list[float]:
    taken = []
    for action in actions:
        time.sleep(_PAUSE_S)
        started = time.perf_counter()
        action()
        taken.append(1000 * (time.perf_counter() - started))
    return taken


def spread_of(values: Sequence[float]) -> Spread:
    """The spread of one value per round, in order; the rounds are split evenly into repeats."""
    repeats = min(REPEATS, len(values))
    edges = [len(values) * n // repeats for n in range(repeats + 1)]
    medians = [statistics.median(values[a:b]) for a, b in pairwise(edges)]
    return Spread(statistics.median(values), min(medians), max(medians))


def ratio_row(
    codec: str, check: str, ours: Sequence[float], theirs: Sequence[float], limit: float | None, how: str
) -> Row:
    """Our time over theirs, round by round; the row is ok if the highest repeat is within the limit."""
    ratio = spread_of([a / b for a, b in zip(ours, theirs, strict=True)])
    target = "none" if limit is None else f"<= {limit:.3g}"
    ok = limit is None or ratio.high <= limit
    return Row(codec, check, ratio.median, "ratio", target, ok, how, ratio.low, ratio.high)
