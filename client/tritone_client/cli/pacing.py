"""Times of a live stream: first audio, time per request, late audio."""

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

import numpy as np

__all__ = ["Report", "paced"]

T = TypeVar("T")


class Report:
    """Times requests.

    ``period_s`` is the audio in one request, and the longest it may take in real time. If requests are not
    ``even`` in size, it is the audio in one item of their source.
    """

    def __init__(self, period_s: float, even: bool = True):
        self._period_s, self._even, self._begun = period_s, even, time.perf_counter()
        self._first_s: float | None = None
        self._taken_s: list[float] = []
        self._late = 0

    def timed(self, request: Callable[[], T]) -> T:
        """Run and time a request; its answer."""
        begun = time.perf_counter()
        answer = request()
        self._taken_s.append(time.perf_counter() - begun)
        return answer

    def received(self, seconds: float) -> None:
        """Note that audio came out. It is late if a player with a reserve of one request ran out before."""
        now = time.perf_counter()
        if not seconds:
            return
        if self._first_s is None:
            self._first_s, self._played_until = now - self._begun, now
        self._late += now > self._played_until + self._period_s
        self._played_until += seconds

    def show(self, real_time: bool) -> None:
        """Print the times to standard error."""
        first = "none" if self._first_s is None else f"{1000 * self._first_s:.1f} ms"
        print(f"first audio    {first}", file=sys.stderr)
        if self._taken_s:
            milliseconds = 1000 * np.array(self._taken_s)
            median, late, longest = np.percentile(milliseconds, [50, 95, 100])
            each = f" of {1000 * self._period_s:.1f} ms each" if self._even else " of growing size"
            print(
                f"per request    median {median:.2f} ms, p95 {late:.2f} ms, max {longest:.2f} ms, "
                f"{len(milliseconds)}{each}",
                file=sys.stderr,
            )
        if real_time:
            print(f"late           {self._late} of {len(self._taken_s)}", file=sys.stderr)


def paced(items: Iterable[T], period_s: float) -> Iterator[T]:
    """The items, one per ``period_s``, as a model that generates in real time yields them."""
    begun = time.perf_counter()
    for index, item in enumerate(items):
        time.sleep(max(0.0, begun + index * period_s - time.perf_counter()))
        yield item
