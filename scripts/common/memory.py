"""Memory of a process and its children while something runs."""

import threading
import time
from types import TracebackType

import psutil

__all__ = ["MemoryMonitor", "idle_mb", "memory_mb"]

_INTERVAL_S = 0.02
_REST_S = 1.0


def memory_mb(pid: int) -> float:
    """Proportional set size of a process tree in MB: shared pages are counted once."""
    total = 0
    root = psutil.Process(pid)
    for process in [root, *root.children(recursive=True)]:
        try:
            total += process.memory_full_info().pss
        except psutil.NoSuchProcess:
            continue
    return total / 1e6


def idle_mb(pid: int) -> float:
    """The same between requests, the least of a second: an answer may come before its memory is freed."""
    least, until_s = memory_mb(pid), time.monotonic() + _REST_S
    while time.monotonic() < until_s:
        time.sleep(_INTERVAL_S)
        least = min(least, memory_mb(pid))
    return least


class MemoryMonitor:
    """Context manager; ``seen`` is the memory of the tree inside it, as (seconds, MB).

    Args:
        pid: of the root.
        interval_s: between two looks.
    """

    def __init__(self, pid: int, interval_s: float = _INTERVAL_S):
        self.seen: list[tuple[float, float]] = []
        self._pid, self._interval_s = pid, interval_s
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    @property
    def peak_mb(self) -> float:
        """The most that was seen."""
        return max((size for _, size in self.seen), default=0.0)

    def _watch(self) -> None:
        begun = time.monotonic()
        while not self._done.wait(self._interval_s):
            self.seen.append((time.monotonic() - begun, memory_mb(self._pid)))

    def __enter__(self) -> "MemoryMonitor":
        self._thread.start()
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._done.set()
        self._thread.join()
