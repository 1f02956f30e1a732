"""Processes that run live streams at a server; a single one would be busier than a GPU."""

import math
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scripts.common.realtime_streams import ScheduledUtterance, StreamResult, run_streams

__all__ = ["Clients", "Load"]

_STREAMS_EACH = 32
_OPENING_PER_S = 250
"""Streams that open in each second, so that openings alone are no overload."""
_SETTLED_S = 0.5


@dataclass(frozen=True)
class Load:
    """Live streams of a codec.

    Attributes:
        codec: name of the codec.
        url: the server's address, or a repository whose models run in the process of the client.
        sentence: tokens [K, T] that all streams repeat.
        streams: number of streams.
        frames: number of frames that each stream sends.
        frames_per_request: number of frames in each request.
    """

    codec: str
    url: str | Path
    sentence: NDArray[np.int64]
    streams: int
    frames: int
    frames_per_request: int

    @property
    def opening_s(self) -> float:
        """Seconds in which the streams open, one after the other."""
        return max(1.0, self.streams / _OPENING_PER_S)


@dataclass
class Clients:
    """Up to ``most`` processes; a context manager. With one, streams run in this process."""

    most: int
    _pool: ProcessPoolExecutor | None = field(default=None, init=False)

    def __enter__(self) -> "Clients":
        if self.most > 1:
            self._pool = ProcessPoolExecutor(self.most, get_context("spawn"))
            list(self._pool.map(time.sleep, [_SETTLED_S] * self.most))
        return self

    def __exit__(self, *_: Any) -> None:
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)

    def results(self, load: Load) -> tuple[list[StreamResult], float]:
        """Run the streams; their results, and the seconds from the first opening to the last answer."""
        starts = [load.opening_s * number / load.streams for number in range(load.streams)]
        count = min(self.most, math.ceil(load.streams / _STREAMS_EACH))
        at = time.time() + _SETTLED_S
        if self._pool is None:
            return _run(load, starts, at), time.time() - at
        shares = [self._pool.submit(_run, load, starts[first::count], at) for first in range(count)]
        return [result for share in shares for result in share.result()], time.time() - at


def _run(load: Load, starts_s: Sequence[float], at: float) -> list[StreamResult]:
    """Run a share of the streams; ``at`` is the time of the first possible opening."""
    time.sleep(max(0.0, at - time.time()))
    tokens = np.resize(load.sentence.T, (load.frames, len(load.sentence))).T
    utterances = [ScheduledUtterance(tokens, start_s) for start_s in starts_s]
    return run_streams(load.codec, load.url, utterances, frames=load.frames_per_request)
