"""Codecs in this process: a step beside the bare run of its graph, and the time to the first sound."""

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from statistics import median
from typing import Any

from scripts.bench.steps import Sound
from scripts.bench.timing import interleaved_ms, spread_of
from scripts.common.prepare import REPOSITORY
from scripts.common.report import Row
from tritone_client import Codec
from tritone_runtime.executors.onnx_runtime import OnnxExecutor
from tritone_runtime.local_models import local_models

__all__ = ["in_process_rows"]

_WARM, _ROUNDS, _QUICK_ROUNDS = 20, 200, 60
_STARTS, _QUICK_STARTS = 5, 3
_MOST_OVERHEAD_MS = {"mimi": 0.15, "nanocodec_mini": 0.15}
_MOST_FIRST_S = {"nanocodec_mini": 1.0}
"""Targets, of the codecs that have one."""
_FIRST_AUDIO = """
import sys, time
started = time.perf_counter()
from pathlib import Path
import numpy as np
from tritone_client import Codec
codec = Codec(sys.argv[1], Path(sys.argv[2]))
with codec.decode_stream() as stream:
    stream.push(np.zeros((codec.info.num_codebooks, 1), np.int64))
    print(time.perf_counter() - started)
"""


def in_process_rows(codec: str, sound: Sound, quick: bool = False) -> list[Row]:
    """Of codecs with live streams."""
    with Codec(codec, REPOSITORY) as opened:
        if opened.stream_info is None:
            return []
        overhead = _overhead_row(opened, sound, _QUICK_ROUNDS if quick else _ROUNDS)
    return [overhead, _first_audio_row(codec, _QUICK_STARTS if quick else _STARTS)]


def _overhead_row(codec: Codec, sound: Sound, rounds: int) -> Row:
    """What a push takes beyond the run of its graph, both timed in the same step."""
    frames = sound.frames("decode", 1)
    scheduler = local_models(REPOSITORY).streams(f"{codec.name}_decode_stream").scheduler
    executor, slots = scheduler._executor, scheduler._slots
    assert isinstance(executor, OnnxExecutor), "a repository for the CPU"
    session = executor._session
    with codec.decode_stream() as stream, _timed(session, "run") as runs, _timed(slots, "keep") as writes:
        for _ in range(_WARM):
            stream.push(next(frames)[0])
        runs.clear()
        (pushed,) = interleaved_ms([lambda: stream.push(next(frames)[0])], rounds)
    bare = runs[-len(pushed) :]
    over = spread_of([whole - run for whole, run in zip(pushed, bare, strict=True)])
    limit = _MOST_OVERHEAD_MS.get(codec.name)
    parts = f"its graph {median(bare):.3f}, its state {median(writes):.3f}"
    how = f"a push takes {median(pushed):.3f} ms: {parts}"
    target, ok = _held(over.median, limit)
    return Row(codec.name, "in_process_overhead", over.median, "ms", target, ok, how, over.low, over.high)


@contextmanager
def _timed(owner: object, method: str) -> Iterator[list[float]]:
    """Milliseconds of each call of a method."""
    call, taken = getattr(owner, method), list[float]()

    def timed(*arguments: Any, **named: Any) -> Any:
        started = time.perf_counter()
        result = call(*arguments, **named)
        taken.append(1000 * (time.perf_counter() - started))
        return result

    setattr(owner, method, timed)
    try:
        yield taken
    finally:
        delattr(owner, method)


def _first_audio_row(codec: str, starts: int) -> Row:
    """A new Python: import, open, first frame; compiled modules and files in the cache of the machine."""
    command = [sys.executable, "-c", _FIRST_AUDIO, codec, str(REPOSITORY)]
    taken = [
        float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        for _ in range(starts + 1)
    ][1:]
    value = median(taken)
    target, ok = _held(value, _MOST_FIRST_S.get(codec))
    how = f"{starts} new processes, from the first import to the first frame of sound"
    return Row(codec, "in_process_first_audio", value, "s", target, ok, how, min(taken), max(taken))


def _held(value: float, limit: float | None) -> tuple[str, bool]:
    """The target in words, and whether the value meets it."""
    return ("none", True) if limit is None else (f"<= {limit:g}", value <= limit)
