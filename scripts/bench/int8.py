"""A live step with INT8 weights beside the same step in FP32."""

import statistics
from pathlib import Path

import numpy as np

from scripts.bench.sessions import StreamSession
from scripts.bench.steps import Sound
from scripts.bench.timing import interleaved_ms, ratio_row
from scripts.common.prepare import build_models, default_checkpoint
from scripts.common.report import Row
from tritone_runtime.fidelity import snr_db

__all__ = ["int8_rows"]

_REPOSITORY = Path("artifacts/int8_repository")
_ROUNDS, _COMPARED_FRAMES = 25, 150
_MAX_RATIO, _MIN_DB = 0.5, 30.0
"""Limits of an INT8 step: its time in FP32 steps, and its audio's distance from FP32."""
_OTHER_RATIOS = {"moss_nano": 1.0}
"""Its matrices are small: reading them is not what takes the time."""


def int8_rows(codec: str, threads: int, sound: Sound) -> list[Row]:
    """Time and audio of a decode step in INT8 against FP32."""
    build_models([(codec, default_checkpoint(codec))], _REPOSITORY, "int8")
    sides = (
        StreamSession(codec, "decode_stream", threads),
        StreamSession(codec, "decode_stream", threads, _REPOSITORY),
    )
    frames = sound.frames("decode", 1)
    audio: tuple[list[np.ndarray], list[np.ndarray]] = ([], [])
    for _ in range(_COMPARED_FRAMES):
        frame = next(frames)
        for session, pieces in zip(sides, audio, strict=True):
            pieces.extend(session.step(frame))
    frame = next(frames)
    fp32_ms, int8_ms = interleaved_ms([lambda: sides[0].step(frame), lambda: sides[1].step(frame)], _ROUNDS)
    limit = _OTHER_RATIOS.get(codec, _MAX_RATIO)
    how = f"{statistics.median(int8_ms):.1f} against {statistics.median(fp32_ms):.1f} ms, one stream"
    db = snr_db(*(np.concatenate(pieces, axis=-1) for pieces in audio))
    compared = f"{_COMPARED_FRAMES} frames streamed one by one, INT8 against FP32"
    return [
        ratio_row(codec, "decode_step_int8", int8_ms, fp32_ms, limit, how),
        Row(codec, "int8_vs_fp32", db, "dB", f">= {_MIN_DB:.0f}", db >= _MIN_DB, compared),
    ]
