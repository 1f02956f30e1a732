"""Half precision: what TensorRT compiles against FP32 through Triton, and what compiling takes."""

from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from scripts.common.prepare import ENGINES, MEASURED
from scripts.common.report import Row
from scripts.fidelity.case import Case, Direction
from scripts.fidelity.fp16_codec import Fp16Codec, pieces
from tritone_build.engines.buckets import most_frames
from tritone_runtime.fidelity import differing_share, snr_db
from tritone_runtime.manifests import read_manifest

__all__ = ["compared", "compile_rows", "fp16_rows"]

_LEAST_DB, _LEAST_TRAINED_DB = 55, 50
"""Trained weights are coarser: they came in FP16, and speech is softer than noise."""
_MOST_LOST_DB = 1.0
_LEAST_EQUAL = 0.99
_MOST_SECONDS, _MOST_GB = 120, 8


def compile_rows(case: Case) -> list[Row]:
    """What TensorRT-RTX took for every engine of the codec, on this machine's CPU."""
    folders = sorted(ENGINES.glob(f"{case.name}_*/1"))
    made = {folder.parent.name: built for folder in folders if (built := _engine_of(case.name, folder))}
    total = sum(engine["seconds"] for engine in made.values())
    target, quick = f"< {_MOST_SECONDS} together", total < _MOST_SECONDS
    rows = [
        Row(case.name, "tensorrt_compiles", engine["seconds"], "s", target, quick, _told(model, engine))
        for model, engine in made.items()
    ]
    peak = max(engine["peak_memory_mb"] for engine in made.values()) / 1000
    how = "at most, of the process that exports and compiles"
    return [*rows, Row(case.name, "tensorrt_memory", peak, "GB", f"< {_MOST_GB}", peak < _MOST_GB, how)]


def _engine_of(codec: str, folder: Path) -> dict[str, Any] | None:
    manifest = read_manifest(folder)
    return manifest.get("engine") if manifest["codec"] == codec else None


def _told(model: str, engine: dict[str, Any]) -> str:
    profiles = [
        f"{p['frames']['least']}-{p['frames']['most']} x {p['batch']['least']}-{p['batch']['most']}"
        for p in engine["profiles"]
    ]
    size, share = engine["bytes"] / 1e6, engine["fp16_share_of_weights"]
    return f"{model}; frames x batch {', '.join(profiles)}; {size:.1f} MB; {share:.0%} of weights FP16"


def fp16_rows(case: Case) -> list[Row]:
    """FP16 against FP32: whole and, where there is a step, streamed a frame at a time."""
    half, info = Fp16Codec(case.name, ENGINES), case.codec.info
    most = most_frames(info.frame_rate_hz, info.lookaround_frames, info.causal)
    rows: list[Row] = []
    roles: tuple[Literal["decode", "encode"], ...] = ("decode", "encode")
    for role in roles:
        way = Direction(case, role)
        frames = case.frames(case.durations.stream)
        data = way.piece(0, frames)
        whole = np.concatenate([way.whole(piece) for piece in pieces(data, most, way.step)], axis=-1)
        made = half.decode(data, most) if role == "decode" else half.encode(data, most, way.step)
        rows += compared(way, whole, made, f"{frames} frames, in pieces of at most {most}")
        if half.streams(role):
            made = half.streamed(role, data, way.step)
            asked = case.codec.decode(data) if role == "decode" else _all_books(case, data)
            rows += compared(way, asked, made, f"{frames} frames, streamed in ones", "_streamed")
    return rows


def _all_books(case: Case, audio: NDArray[np.float32]) -> NDArray[np.int64]:
    info = case.codec.info
    return case.codec.encode(audio, info.sample_rate_hz, info.num_codebooks)


def compared(
    way: Direction, exact: NDArray[Any], made: NDArray[Any], how: str, suffix: str = ""
) -> list[Row]:
    """Sound by its noise, and by how much more the last third has than the first; tokens by equality."""
    name, codec = way.check(f"fp16_vs_fp32{suffix}"), way.case.name
    if way.role == "encode":
        books = min(len(exact), len(made))
        share = 1 - differing_share(exact[0], made[0])
        how += f"; first codebook, {1 - differing_share(exact[:books], made[:books]):.1%} of {books}"
        return [Row(codec, name, share, "share", f">= {_LEAST_EQUAL}", share >= _LEAST_EQUAL, how)]
    least = _LEAST_TRAINED_DB if MEASURED[codec].comes_along else _LEAST_DB
    value, third = snr_db(exact, made), len(exact) // 3
    lost = snr_db(exact[:third], made[:third]) - snr_db(exact[-third:], made[-third:])
    return [
        Row(codec, name, value, "dB", f">= {least}", value >= least, how),
        Row(codec, f"fp16_drift{suffix}", lost, "dB", f"<= {_MOST_LOST_DB:g}", lost <= _MOST_LOST_DB, how),
    ]
