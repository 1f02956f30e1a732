"""One live step beside the least it can take, reading its weights; and with its weights in INT8."""

import statistics
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from scripts.bench.sessions import StreamSession, has_streams, weight_bytes
from scripts.bench.steps import Sound, step_ms
from scripts.bench.timing import interleaved_ms, ratio_row
from scripts.common.prepare import build_models, default_checkpoint
from scripts.common.report import Row
from tritone_runtime.fidelity import snr_db

__all__ = ["INT8", "int8_rows", "weight_reading_rows"]

INT8 = Path("artifacts/int8_repository")
_ROUNDS, _COMPARED = 25, 150
_COPYING, _LARGE = 1.3, 1 << 30
"""Most that a step of so many bytes of weights may take, in times that copying them takes."""
_INT8_STEP, _INT8_DB = 0.5, 30.0


def weight_reading_rows(codec: str, threads: int, sound: Sound, machine: Sequence[Row]) -> list[Row]:
    """A step of one stream, in times that its weights take to be read or copied; asked of what takes longest.

    Args:
        codec: with a model for streams.
        threads: of a step.
        sound: that goes in.
        machine: how much it reads and copies in a second.
    """
    if not has_streams(codec, "decode_stream"):
        return []
    size = weight_bytes(codec, "decode_stream")
    step, rows = statistics.median(step_ms(codec, "decode", threads, sound)), []
    for check, speed, limit in (("read", "reading", 0.0), ("copy", "copying", _COPYING)):
        gbytes = next(row.value for row in machine if row.check == check)
        least = size / gbytes / 1e6
        how = f"{step:.1f} ms; {size / 1e6:.0f} MB at {gbytes:.1f} GB/s are {least:.1f} ms"
        asked = limit and size > _LARGE
        target, ok = (f"<= {limit}", step / least <= limit) if asked else ("none", True)
        rows.append(Row(codec, f"decode_step_vs_{speed}", step / least, "ratio", target, ok, how))
    return rows


def int8_rows(codec: str, threads: int, sound: Sound) -> list[Row]:
    """Time and sound of a step in INT8 against FP32."""
    build_models([(codec, default_checkpoint(codec))], INT8, "int8")
    exact = StreamSession(codec, "decode_stream", threads)
    quick = StreamSession(codec, "decode_stream", threads, INT8)
    heard: tuple[list[np.ndarray], list[np.ndarray]] = ([], [])
    frames = sound.frames("decode", 1)
    for _ in range(_COMPARED):
        frame = next(frames)
        for streams, sounds in zip((exact, quick), heard, strict=True):
            sounds.extend(streams.step(frame))
    frame = next(frames)
    slow, fast = interleaved_ms([lambda: exact.step(frame), lambda: quick.step(frame)], _ROUNDS)
    how = f"{statistics.median(fast):.1f} against {statistics.median(slow):.1f} ms, one stream"
    noise = snr_db(*(np.concatenate(sounds, axis=-1) for sounds in heard))
    told = f"{_COMPARED} frames streamed in ones, INT8 against FP32"
    return [
        ratio_row(codec, "decode_step_int8", fast, slow, _INT8_STEP, how),
        Row(codec, "int8_vs_fp32", noise, "dB", f">= {_INT8_DB:.0f}", noise >= _INT8_DB, told),
    ]
