"""The pictures of a load test: latency against the number of live streams, memory against time."""

import os
from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes

from load_soak import Soak
from sweep import Sweep

__all__ = ["draw", "draw_memory"]


def draw(path: Path, sweeps: Sequence[Sweep]) -> None:
    """Write a PNG with a pair of lines, p50 and p99, per model, and the deadlines they must stay below."""
    mpl.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(9, 5.5), layout="constrained")
    drawn = [sweep for sweep in sweeps if sweep.answered]
    for index, sweep in enumerate(drawn):
        _lines(axes, sweep, f"C{index}")
    for frame_ms in sorted({point.frame_ms for sweep in drawn for point in sweep.points}):
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


def _lines(axes: Axes, sweep: Sweep, color: str) -> None:
    streams = [point.streams for point in sweep.answered]
    p50, p99 = ([point.result.percentile_ms(q) for point in sweep.answered] for q in (50, 99))
    label = f"{sweep.model}: {sweep.knee} in real time"
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
