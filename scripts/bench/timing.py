"""Timing sides in turn, so that what slows the machine slows all of them."""

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from scripts.common.report import Row

__all__ = ["REPEATS", "Spread", "interleaved_ms", "ratio_row", "spread_of"]

REPEATS = 5
"""Groups of rounds, by whose medians it is told how far a figure holds."""
_REST_S = 0.005
"""Before each action: PyTorch's threads spin on for a while (a step of Mimi: 16 ms beside them, else 10)."""


@dataclass(frozen=True)
class Spread:
    """A median, and the lowest and highest median among repeats."""

    median: float
    low: float
    high: float


def interleaved_ms(actions: Sequence[Callable[[], object]], rounds: int) -> list[list[float]]:
    """Milliseconds of every action, run in turn, in every round; one more round warms up."""
    times: list[list[float]] = [[] for _ in actions]
    for index in range(rounds + 1):
        for side, action in zip(times, actions, strict=True):
            time.sleep(_REST_S)
            started = time.perf_counter()
            action()
            if index:
                side.append(1000 * (time.perf_counter() - started))
    return times


def spread_of(values: Sequence[float]) -> Spread:
    """Of one value per round, in their order; each repeat is an equal share of the rounds that follow."""
    repeats = min(REPEATS, len(values))
    edges = [len(values) * n // repeats for n in range(repeats + 1)]
    medians = [statistics.median(values[a:b]) for a, b in pairwise(edges)]
    return Spread(statistics.median(values), min(medians), max(medians))


def ratio_row(
    codec: str, check: str, ours: Sequence[float], theirs: Sequence[float], limit: float | None, how: str
) -> Row:
    """What our side took in times of theirs, round by round; held against the limit by its worse end."""
    ratio = spread_of([a / b for a, b in zip(ours, theirs, strict=True)])
    target = "none" if limit is None else f"<= {limit:.3g}"
    ok = limit is None or ratio.high <= limit
    return Row(codec, check, ratio.median, "ratio", target, ok, how, ratio.low, ratio.high)
