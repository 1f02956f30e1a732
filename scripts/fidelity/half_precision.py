"""FP16, as TensorRT compiles it, against FP32 through Triton; and the cost of compiling."""

from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from scripts.common.prepare import ENGINES, MEASURED
from scripts.common.report import Row
from scripts.fidelity.case import Case, Direction
from scripts.fidelity.fp16_codec import Fp16Codec, split_evenly
from tritone_build.engines.buckets import most_frames
from tritone_runtime.fidelity import differing_share, snr_db
from tritone_runtime.manifests import read_manifest

__all__ = ["compared", "compile_rows", "fp16_rows"]

_MIN_DB, _MIN_TRAINED_DB = 55, 50
"""The limit is lower for trained weights: they were stored in FP16, and speech is quieter than noise."""
_MAX_DRIFT_DB = 1.0
_MIN_EQUAL = 0.99
_MAX_SECONDS, _MAX_GB = 120, 8


def compile_rows(case: Case) -> list[Row]:
    """Time and memory that TensorRT-RTX took to compile the codec's engines, on this machine's CPU."""
    folders = sorted(ENGINES.glob(f"{case.name}_*/1"))
    made = {folder.parent.name: built for folder in folders if (built := _engine_of(case.name, folder))}
    total = sum(engine["seconds"] for engine in made.values())
    target, ok = f"< {_MAX_SECONDS} together", total < _MAX_SECONDS
    rows = [
        Row(case.name, "tensorrt_compiles", engine["seconds"], "s", target, ok, _formatted(model, engine))
        for model, engine in made.items()
    ]
    peak = max(engine["peak_memory_mb"] for engine in made.values()) / 1000
    how = "peak of the process that exports and compiles"
    return [*rows, Row(case.name, "tensorrt_memory", peak, "GB", f"< {_MAX_GB}", peak < _MAX_GB, how)]


def _engine_of(codec: str, folder: Path) -> dict[str, Any] | None:
    manifest = read_manifest(folder)
    return manifest.get("engine") if manifest["codec"] == codec else None


def _formatted(model: str, engine: dict[str, Any]) -> str:
    profiles = [
        f"{p['frames']['least']}-{p['frames']['most']} x {p['batch']['least']}-{p['batch']['most']}"
        for p in engine["profiles"]
    ]
    size, share = engine["bytes"] / 1e6, engine["fp16_share_of_weights"]
    return f"{model}; frames x batch {', '.join(profiles)}; {size:.1f} MB; {share:.0%} of weights FP16"


def fp16_rows(case: Case) -> list[Row]:
    """FP16 against FP32: offline and, if the codec has a streaming model, as a stream of single frames."""
    half, info = Fp16Codec(case.name, ENGINES), case.codec.info
    most = most_frames(info.frame_rate_hz, info.lookaround_frames, info.causal)
    rows: list[Row] = []
    roles: tuple[Literal["decode", "encode"], ...] = ("decode", "encode")
    for role in roles:
        direction = Direction(case, role)
        frames = case.frames(case.durations.stream)
        data = direction.input_frames(0, frames)
        exact = np.concatenate(
            [direction.offline(piece) for piece in split_evenly(data, most, direction.input_hop)], axis=-1
        )
        made = half.decode(data, most) if role == "decode" else half.encode(data, most, direction.input_hop)
        rows += compared(direction, exact, made, f"{frames} frames, in pieces of at most {most}")
        if half.has_stream(role):
            made = half.run_stream(role, data, direction.input_hop)
            exact = case.codec.decode(data) if role == "decode" else _all_books(case, data)
            rows += compared(direction, exact, made, f"{frames} frames, streamed one by one", "_streamed")
    return rows


def _all_books(case: Case, audio: NDArray[np.float32]) -> NDArray[np.int64]:
    info = case.codec.info
    return case.codec.encode(audio, info.encode_sample_rate_hz, info.num_codebooks)


def compared(
    direction: Direction, exact: NDArray[Any], made: NDArray[Any], how: str, suffix: str = ""
) -> list[Row]:
    """Rows that compare FP16 with FP32.

    Audio is judged by its SNR, and by how much lower the SNR is in the last third than in the first; tokens
    by the share of equal ones in the first codebook.

    Args:
        direction: decode for audio, encode for tokens.
        exact: FP32 result.
        made: FP16 result.
        how: conditions of the measurement.
        suffix: of the rows' names.
    """
    name, codec = direction.check_name(f"fp16_vs_fp32{suffix}"), direction.case.name
    if direction.role == "encode":
        books = min(len(exact), len(made))
        share = 1 - differing_share(exact[0], made[0])
        how += f"; first codebook, {1 - differing_share(exact[:books], made[:books]):.1%} of {books}"
        return [Row(codec, name, share, "share", f">= {_MIN_EQUAL}", share >= _MIN_EQUAL, how)]
    least = _MIN_TRAINED_DB if MEASURED[codec].comes_along else _MIN_DB
    value, third = snr_db(exact, made), exact.shape[-1] // 3
    first, last = (snr_db(exact[..., part], made[..., part]) for part in (slice(third), slice(-third, None)))
    lost = first - last
    return [
        Row(codec, name, value, "dB", f">= {least}", value >= least, how),
        Row(codec, f"fp16_drift{suffix}", lost, "dB", f"<= {_MAX_DRIFT_DB:g}", lost <= _MAX_DRIFT_DB, how),
    ]
