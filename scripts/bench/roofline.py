"""How much of a step's time the machine's own limits explain: its arithmetic, or reading the weights."""

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

__all__ = ["frame_gflop", "roofline_rows"]


def roofline_rows(codec: str, threads: int, sound: Sound, machine: Sequence[Row]) -> list[Row]:
    """A step of one stream each way: the share of its time that its binding limit explains.

    Args:
        codec: with models for streams, else there are no rows.
        threads: of a step.
        sound: that goes in.
        machine: how much it multiplies and reads in a second.
    """
    gflops, gbytes = (next(row.value for row in machine if row.check == each) for each in ("sgemm", "read"))
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


def frame_gflop(codec: str, role: str) -> float:
    """Products and sums of the matrix products and convolutions of a frame of a stream, in 10^9."""
    outline = outline_of(MEASURED[codec])
    with torch.device("meta"), torch.no_grad(), FlopCounterMode(display=False) as counter:
        found = engine_role(outline, role)
        found.module(*found.example)
    steps = 1 if role.startswith("decode") else outline.geometry.samples_per_frame
    frames = found.example[0].shape[-1] / steps
    return float(counter.get_total_flops() / BATCH / frames / 1e9)
