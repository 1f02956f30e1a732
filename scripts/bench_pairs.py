"""Timing sides in turn, so that what slows the machine slows all of them."""

import statistics
import time
from collections.abc import Callable, Sequence

__all__ = ["alternating", "median_ratio"]

_REST_S = 0.005
"""Before each action: PyTorch's threads spin on for a while (a step of Mimi: 16 ms beside them, else 10)."""


def alternating(actions: Sequence[Callable[[], object]], rounds: int) -> list[list[float]]:
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


def median_ratio(ours: Sequence[float], theirs: Sequence[float]) -> float:
    """Median over the rounds."""
    return statistics.median(a / b for a, b in zip(ours, theirs, strict=True))
