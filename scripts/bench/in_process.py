"""Codecs in this process: a step beside the bare run of its graph, and the time to the first sound."""

import statistics
import subprocess
import sys
from collections.abc import Callable

import numpy as np

from scripts.bench.sessions import Array
from scripts.bench.steps import Sound
from scripts.bench.timing import interleaved_ms, spread_of
from scripts.common.prepare import REPOSITORY
from scripts.common.report import Row
from tritone_client import Codec
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
    frames = sound.frames("decode", 1)
    with codec.decode_stream() as stream:
        for _ in range(_WARM):
            stream.push(next(frames)[0])
        pushed, bare = interleaved_ms(
            [lambda: stream.push(next(frames)[0]), _bare_run(codec.name, next(frames))], rounds
        )
    over = spread_of([ours - theirs for ours, theirs in zip(pushed, bare, strict=True)])
    limit = _MOST_OVERHEAD_MS.get(codec.name)
    how = f"a push takes {statistics.median(pushed):.3f} ms, its graph alone {statistics.median(bare):.3f} ms"
    target, ok = _held(over.median, limit)
    return Row(codec.name, "in_process_overhead", over.median, "ms", target, ok, how, over.low, over.high)


def _bare_run(codec: str, frame: Array) -> Callable[[], object]:
    """A step's graph on ONNX Runtime, with the memory of all streams, and nothing around it."""
    scheduler = local_models(REPOSITORY).streams(f"{codec}_decode_stream").scheduler
    executor, slots = scheduler._executor, scheduler._slots
    given = {"tokens": frame, "slot": np.zeros(1, np.int64), **slots.pasts}
    return lambda: executor._session.run(executor.outputs, given, executor._keeping)


def _first_audio_row(codec: str, starts: int) -> Row:
    """A new Python: import, open, first frame; compiled modules and files in the cache of the machine."""
    command = [sys.executable, "-c", _FIRST_AUDIO, codec, str(REPOSITORY)]
    taken = [
        float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        for _ in range(starts + 1)
    ][1:]
    value = statistics.median(taken)
    target, ok = _held(value, _MOST_FIRST_S.get(codec))
    how = f"{starts} new processes, from the first import to the first frame of sound"
    return Row(codec, "in_process_first_audio", value, "s", target, ok, how, min(taken), max(taken))


def _held(value: float, limit: float | None) -> tuple[str, bool]:
    """The target in words, and whether the value meets it."""
    return ("none", True) if limit is None else (f"<= {limit:g}", value <= limit)
