"""Memory of a process and its children."""

import threading
import time
from types import TracebackType

import psutil

__all__ = ["MemoryMonitor", "idle_mb", "memory_mb"]

_INTERVAL_S = 0.02
_IDLE_WINDOW_S = 1.0


def memory_mb(pid: int) -> float:
    """Proportional set size of a process tree in MB, which counts each shared page once."""
    total = 0
    root = psutil.Process(pid)
    for process in [root, *root.children(recursive=True)]:
        try:
            total += process.memory_full_info().pss
        except psutil.NoSuchProcess:
            continue
    return total / 1e6


def idle_mb(pid: int) -> float:
    """Memory of the tree between requests: the minimum over one second.

    A server may answer a request before it frees the memory that the request used.
    """
    least, until_s = memory_mb(pid), time.monotonic() + _IDLE_WINDOW_S
    while time.monotonic() < until_s:
        time.sleep(_INTERVAL_S)
        least = min(least, memory_mb(pid))
    return least


class MemoryMonitor:
    """Context manager that samples the memory of a process tree; ``samples`` holds (seconds, MB).

    Args:
        pid: of the root process.
        interval_s: between two samples.
    """

    def __init__(self, pid: int, interval_s: float = _INTERVAL_S):
        self.samples: list[tuple[float, float]] = []
        self._pid, self._interval_s = pid, interval_s
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)

    @property
    def peak_mb(self) -> float:
        """The largest sample; 0 if there is none."""
        return max((size for _, size in self.samples), default=0.0)

    def _sample(self) -> None:
        started = time.monotonic()
        while not self._stop.wait(self._interval_s):
            self.samples.append((time.monotonic() - started, memory_mb(self._pid)))

    def __enter__(self) -> "MemoryMonitor":
        self._thread.start()
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._stop.set()
        self._thread.join()
