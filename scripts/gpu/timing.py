"""How long a run takes on a device."""

import statistics
import time
from collections.abc import Callable

import torch

from scripts.gpu.points import Reading

__all__ = ["timed"]

_WARM_UPS, _FEWEST, _MOST = 3, 5, 200
_SECONDS, _TINY_SECONDS = 1.5, 0.05


def timed(run: Callable[[], object], device: torch.device, tiny: bool) -> Reading:
    """The median duration in ms, after warm-ups; the note has the 5th and 95th percentile.

    On a GPU this is the time between two events in the current CUDA stream.
    """
    for _ in range(1 if tiny else _WARM_UPS):
        run()
    measure = _on_gpu if device.type == "cuda" else _on_cpu
    until, taken = time.monotonic() + (_TINY_SECONDS if tiny else _SECONDS), list[float]()
    while len(taken) < _FEWEST or (len(taken) < _MOST and time.monotonic() < until):
        taken.append(measure(run))
    taken.sort()
    low, high = taken[len(taken) // 20], taken[-1 - len(taken) // 20]
    return Reading(statistics.median(taken), "ms", note=f"{len(taken)} runs, {low:.3f} to {high:.3f}")


def _on_cpu(run: Callable[[], object]) -> float:
    started = time.perf_counter()
    run()
    return 1000 * (time.perf_counter() - started)


def _on_gpu(run: Callable[[], object]) -> float:
    begin, end = torch.Event("cuda", enable_timing=True), torch.Event("cuda", enable_timing=True)
    begin.record()
    run()
    end.record()
    end.synchronize()
    return float(begin.elapsed_time(end))
