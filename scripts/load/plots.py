"""The pictures of a load test: latency against the number of live streams, memory against time."""

import os
import re
from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes

from scripts.common.report import Row
from scripts.load.soak import Soak
from scripts.load.streams import LATENCY, REALTIME

__all__ = ["draw", "draw_memory"]


_FRAME_MS = re.compile(r"frames of ([\d.]+) ms")


def draw(path: Path, rows: Sequence[Row]) -> None:
    """Write a picture with a pair of lines, p50 and p99, per model, and the deadlines they must stay below.

    Args:
        path: PNG or SVG.
        rows: of a load test's report; without streams there is no picture.
    """
    mpl.use("Agg")
    from matplotlib import pyplot

    knees = [row for row in rows if row.check.endswith(REALTIME)]
    if not knees:
        return
    figure, axes = pyplot.subplots(figsize=(9, 5.5), layout="constrained")
    for index, knee in enumerate(knees):
        _lines(axes, knee, rows, f"C{index}")
    for frame_ms in sorted({float(found[1]) for knee in knees if (found := _FRAME_MS.search(knee.how))}):
        axes.axhline(frame_ms, color="black", linewidth=1, linestyle="--")
        label = f" one frame: {frame_ms:.0f} ms"
        axes.text(0, frame_ms, label, transform=axes.get_yaxis_transform(), va="bottom")
    axes.set(
        xlabel="live streams, each sending a frame when it is due",
        ylabel="ms from a frame's sending to its answer",
        yscale="log",
        xlim=(0, None),
    )
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_formatter("")
    axes.grid(visible=True, which="both", alpha=0.25)
    axes.legend(loc="lower right")
    figure.suptitle("Latency of live streams through Triton")
    axes.set_title(f"{os.cpu_count()} cores, which the load generator shares", fontsize="small")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110, metadata={"Date": None} if path.suffix == ".svg" else None)
    pyplot.close(figure)


def _lines(axes: Axes, knee: Row, rows: Sequence[Row], color: str) -> None:
    latency = knee.check.replace(REALTIME, LATENCY)
    points = [row for row in rows if (row.codec, row.check) == (knee.codec, latency)]
    streams, p99 = [row.at or 0 for row in points], [row.value for row in points]
    p50 = [row.value if row.low is None else row.low for row in points]
    label = f"{knee.codec}, {knee.how.partition(',')[0]}: {knee.value:g} in real time"
    axes.plot(streams, p99, "o-", color=color, label=f"{label}, p99")
    axes.plot(streams, p50, ".:", color=color, label="p50")
    axes.fill_between(streams, p50, p99, color=color, alpha=0.08)


def draw_memory(path: Path, codec: str, soak: Soak) -> None:
    """Write a PNG of the memory of server and children while streams came and went."""
    mpl.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(9, 3.5), layout="constrained")
    axes.plot([at / 60 for at, _ in soak.memory], [size for _, size in soak.memory], "C0")
    axes.set(xlabel="minutes", ylabel="MB", ylim=(0, None), xlim=(0, None))
    axes.grid(visible=True, alpha=0.25)
    figure.suptitle(f"Memory of the server under {soak.streams} live streams of {codec}")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110, metadata={"Date": None} if path.suffix == ".svg" else None)
    pyplot.close(figure)
