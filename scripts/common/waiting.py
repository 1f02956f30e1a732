"""Waiting for a condition, up to a limit."""

import time
from collections.abc import Callable

__all__ = ["seconds_until"]


def seconds_until(condition: Callable[[], bool], limit_s: float, interval_s: float = 0.1) -> float:
    """Check every ``interval_s`` until the condition holds; return how long that took.

    The result is ``limit_s`` or more if the condition did not hold in time.
    """
    started = time.monotonic()
    while not condition() and time.monotonic() - started < limit_s:
        time.sleep(interval_s)
    return time.monotonic() - started
