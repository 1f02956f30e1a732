"""The picture of what a frame costs along each axis."""

from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl

from scripts.common.report import Row

__all__ = ["draw_scaling"]

_AXES = {
    "frame_ms_by_frames": "frames in a request",
    "frame_ms_by_rows": "rows in a batch",
    "frame_ms_by_streams": "live streams in a step",
    "frame_ms_by_threads": "threads",
}


def draw_scaling(path: Path, rows: Sequence[Row]) -> None:
    """Write a picture with one plot per axis and one line per codec; bands are the ends of five repeats."""
    mpl.use("Agg")
    from matplotlib import pyplot

    mpl.rcParams["svg.hashsalt"] = "tritone"
    drawn = {check: label for check, label in _AXES.items() if any(row.check == check for row in rows)}
    figure, grid = pyplot.subplots(
        1, len(drawn), figsize=(13, 3.6), layout="constrained", sharey=True, squeeze=False
    )
    plots = grid[0]
    codecs = list(dict.fromkeys(row.codec for row in rows if row.check in _AXES))
    for axes, (check, label) in zip(plots, drawn.items(), strict=True):
        for index, codec in enumerate(codecs):
            points = [row for row in rows if (row.check, row.codec) == (check, codec)]
            at = [row.at or 0 for row in points]
            axes.plot(at, [row.value for row in points], "o-", color=f"C{index}", label=codec, markersize=3)
            low, high = ([getattr(row, end) or row.value for row in points] for end in ("low", "high"))
            axes.fill_between(at, low, high, color=f"C{index}", alpha=0.12)
        axes.set(xlabel=label, xscale="log", yscale="log")
        axes.xaxis.set_major_formatter("{x:g}")
        axes.yaxis.set_major_formatter("{x:g}")
        axes.grid(visible=True, which="both", alpha=0.25)
    plots[0].set_ylabel("ms per frame")
    plots[0].legend(fontsize="small")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110, metadata={"Date": None} if path.suffix == ".svg" else None)
    pyplot.close(figure)
