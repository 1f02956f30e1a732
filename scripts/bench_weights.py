"""One live step beside the least it can take: reading its weights. And the same step with weights in INT8."""

import statistics
from pathlib import Path

import numpy as np

from bench_pairs import alternating, median_ratio
from bench_sessions import BareStreams
from bench_steps import Sound
from prepare import REPOSITORY, build_models, default_checkpoint
from report import Row
from tritone_build.fidelity import snr_db

__all__ = ["INT8", "int8_rows", "reading_rows"]

INT8 = Path("artifacts/int8_repository")
_WARM, _ROUNDS, _COMPARED = 5, 25, 150
_READING, _INT8_STEP, _INT8_DB = 1.3, 0.5, 30.0


def reading_rows(codec: str, threads: int, sound: Sound, read_gbytes: float) -> list[Row]:
    """A step of one stream, in times that its weights take to be read; asked of what reads longest.

    Args:
        codec: with a model for streams.
        threads: of a step.
        sound: that goes in.
        read_gbytes: that this machine reads in a second.
    """
    folder = REPOSITORY / f"{codec}_decode_stream" / "1"
    size = sum(file.stat().st_size for file in folder.iterdir())
    streams, frames = BareStreams(codec, "decode_stream", threads), sound.frames("decode", 1)
    for _ in range(_WARM):
        streams.step(next(frames))
    (taken,) = alternating([lambda: streams.step(next(frames))], _ROUNDS)
    reading, step = size / read_gbytes / 1e6, statistics.median(taken)
    value, asked = step / reading, size > 1 << 30
    how = f"{step:.1f} ms; {size / 1e6:.0f} MB at {read_gbytes:.1f} GB/s are {reading:.1f} ms"
    target, ok = (f"<= {_READING}", value <= _READING) if asked else ("none", True)
    return [Row(codec, "decode_step_vs_reading", value, "ratio", target, ok, how)]


def int8_rows(codec: str, threads: int, sound: Sound) -> list[Row]:
    """Time and sound of a step in INT8 against FP32."""
    build_models([(codec, default_checkpoint(codec))], INT8, "int8")
    exact = BareStreams(codec, "decode_stream", threads)
    quick = BareStreams(codec, "decode_stream", threads, INT8)
    heard: tuple[list[np.ndarray], list[np.ndarray]] = ([], [])
    frames = sound.frames("decode", 1)
    for _ in range(_COMPARED):
        frame = next(frames)
        for streams, sounds in zip((exact, quick), heard, strict=True):
            sounds.extend(streams.step(frame))
    frame = next(frames)
    slow, fast = alternating([lambda: exact.step(frame), lambda: quick.step(frame)], _ROUNDS)
    value = median_ratio(fast, slow)
    how = f"{statistics.median(fast):.1f} against {statistics.median(slow):.1f} ms, one stream"
    noise = snr_db(*(np.concatenate(sounds, axis=-1) for sounds in heard))
    told = f"{_COMPARED} frames streamed in ones, INT8 against FP32"
    return [
        Row(codec, "decode_step_int8", value, "ratio", f"<= {_INT8_STEP}", value <= _INT8_STEP, how),
        Row(codec, "int8_vs_fp32", noise, "dB", f">= {_INT8_DB:.0f}", noise >= _INT8_DB, told),
    ]
