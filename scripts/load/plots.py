"""Plots of a load test: latency against live streams, and memory against time."""

import os
import re
from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes

from scripts.common.plots import figure_file
from scripts.common.report import Row
from scripts.load.soak import Soak
from scripts.load.streams import LATENCY, REALTIME

__all__ = ["plot_latency", "plot_memory"]

_FRAME_MS = re.compile(r"frames of ([\d.]+) ms")


def plot_latency(path: Path, rows: Sequence[Row]) -> None:
    """Plot p50 and p99 latency against live streams per model, with the duration of a frame as deadline.

    Args:
        path: PNG or SVG.
        rows: of a load test's report; without rows of streams no file is written.
    """
    knees = [row for row in rows if row.check.endswith(REALTIME)]
    if not knees:
        return
    with figure_file(path, figsize=(9, 5.5)) as (figure, axes):
        for index, knee in enumerate(knees):
            _plot_model(axes, knee, rows, f"C{index}")
        for frame_ms in sorted({float(found[1]) for knee in knees if (found := _FRAME_MS.search(knee.how))}):
            axes.axhline(frame_ms, color="black", linewidth=1, linestyle="--")
            label = f" one frame: {frame_ms:.0f} ms"
            axes.text(0, frame_ms, label, transform=axes.get_yaxis_transform(), va="bottom")
        axes.set(
            xlabel="live streams, each sending a frame when it is due",
            ylabel="ms from sending a frame to its answer",
            yscale="log",
            xlim=(0, None),
        )
        axes.yaxis.set_major_formatter("{x:g}")
        axes.yaxis.set_minor_formatter("")
        axes.grid(visible=True, which="both", alpha=0.25)
        axes.legend(loc="lower right")
        figure.suptitle("Latency of live streams through Triton")
        axes.set_title(f"{os.cpu_count()} cores, which the load generator shares", fontsize="small")


def _plot_model(axes: Axes, knee: Row, rows: Sequence[Row], color: str) -> None:
    latency = knee.check.replace(REALTIME, LATENCY)
    points = [row for row in rows if (row.codec, row.check) == (knee.codec, latency)]
    streams, p99 = [row.at or 0 for row in points], [row.value for row in points]
    p50 = [row.value if row.low is None else row.low for row in points]
    label = f"{knee.codec}, {knee.how.partition(',')[0]}: {knee.value:g} in real time"
    axes.plot(streams, p99, "o-", color=color, label=f"{label}, p99")
    axes.plot(streams, p50, ".:", color=color, label="p50")
    axes.fill_between(streams, p50, p99, color=color, alpha=0.08)


def plot_memory(path: Path, codec: str, soak: Soak) -> None:
    """Plot the memory of the server and its child processes during a soak test.

    Args:
        path: PNG or SVG.
        codec: name of the codec, for the title.
        soak: the test.
    """
    with figure_file(path, figsize=(9, 3.5)) as (figure, axes):
        axes.plot([at / 60 for at, _ in soak.memory], [size for _, size in soak.memory], "C0")
        axes.set(xlabel="minutes", ylabel="MB", ylim=(0, None), xlim=(0, None))
        axes.grid(visible=True, alpha=0.25)
        figure.suptitle(f"Memory of the server under {soak.streams} live streams of {codec}")
