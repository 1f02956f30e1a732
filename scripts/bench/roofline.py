"""How much of a step's time the machine's arithmetic and memory bandwidth explain: a roofline."""

import statistics
from collections.abc import Sequence

import torch
from torch.utils.flop_counter import FlopCounterMode

from scripts.bench.sessions import has_streams, weight_bytes
from scripts.bench.steps import Sound, step_ms
from scripts.bench.timing import spread_of
from scripts.common.prepare import MEASURED
from scripts.common.report import Row
from tritone_build.codecs import outline_of
from tritone_build.graphs.role import BATCH
from tritone_build.graphs.roles import engine_role

__all__ = ["frame_gflop", "roofline_rows", "weight_reading_rows"]

_MAX_COPY_RATIO, _LARGE_BYTES = 1.3, 1 << 30
"""Largest allowed ratio of a step's time to that of copying its weights, and the bytes of weights from which
the limit applies."""


def roofline_rows(codec: str, threads: int, sound: Sound, machine: Sequence[Row]) -> list[Row]:
    """A step of one stream in each direction: the share of its time that its binding limit explains.

    Args:
        codec: name of the codec; directions without a streaming model give no row.
        threads: of a step.
        sound: the input.
        machine: rows ``sgemm`` and ``read``, the machine's measured peaks.
    """
    gflops, gbytes = (_rate(machine, check) for check in ("sgemm", "read"))
    rows = []
    for role in ("decode", "encode"):
        name = f"{role}_stream"
        if not has_streams(codec, name):
            continue
        size, gflop = weight_bytes(codec, name) / 1e9, frame_gflop(codec, name)
        taken = spread_of(step_ms(codec, role, threads, sound))
        limits = {"arithmetic": 1000 * gflop / gflops, "reading its weights": 1000 * size / gbytes}
        binding = max(limits, key=lambda each: limits[each])
        shares = [limits[binding] / each for each in (taken.median, taken.high, taken.low)]
        how = f"{binding}: {limits[binding]:.1f} of {taken.median:.1f} ms; "
        how += f"{gflop:.2f} GFLOP, {1000 * size:.0f} MB"
        rows.append(
            Row(codec, f"{role}_step_limit", shares[0], "share", "none", True, how, shares[1], shares[2])
        )
    return rows


def weight_reading_rows(codec: str, threads: int, sound: Sound, machine: Sequence[Row]) -> list[Row]:
    """A decode step of one stream, in times that reading or copying its weights takes.

    Only a model with more than 1 GiB of weights has a target, since others are not bound by memory.

    Args:
        codec: name of the codec; one without a streaming decoder gives no row.
        threads: of a step.
        sound: the input.
        machine: rows ``read`` and ``copy``, the machine's measured bandwidths.
    """
    if not has_streams(codec, "decode_stream"):
        return []
    size = weight_bytes(codec, "decode_stream")
    taken_ms, rows = statistics.median(step_ms(codec, "decode", threads, sound)), []
    for check, activity, limit in (("read", "reading", 0.0), ("copy", "copying", _MAX_COPY_RATIO)):
        gbytes = _rate(machine, check)
        least_ms = size / gbytes / 1e6
        ratio = taken_ms / least_ms
        how = f"{taken_ms:.1f} ms; {size / 1e6:.0f} MB at {gbytes:.1f} GB/s are {least_ms:.1f} ms"
        limited = limit and size > _LARGE_BYTES
        target, ok = (f"<= {limit}", ratio <= limit) if limited else ("none", True)
        rows.append(Row(codec, f"decode_step_vs_{activity}", ratio, "ratio", target, ok, how))
    return rows


def _rate(machine: Sequence[Row], check: str) -> float:
    return next(row.value for row in machine if row.check == check)


def frame_gflop(codec: str, role: str) -> float:
    """Multiplications and additions, in 10^9, of the matrix products and convolutions for one frame."""
    outline = outline_of(MEASURED[codec])
    with torch.device("meta"), torch.no_grad(), FlopCounterMode(display=False) as counter:
        found = engine_role(outline, role)
        found.module(*found.example)
    steps = 1 if role.startswith("decode") else outline.geometry.encode_samples_per_frame
    frames = found.example[0].shape[-1] / steps
    return float(counter.get_total_flops() / BATCH / frames / 1e9)
