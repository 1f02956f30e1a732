"""Plot of the cost of a frame by frames per request, rows per batch, live streams and threads."""

from collections.abc import Sequence
from pathlib import Path

from scripts.common.plots import figure_file
from scripts.common.report import Row

__all__ = ["plot_scaling"]

_AXES = {
    "frame_ms_by_frames": "frames in a request",
    "frame_ms_by_rows": "rows in a batch",
    "frame_ms_by_streams": "live streams in a step",
    "frame_ms_by_threads": "threads",
}


def plot_scaling(path: Path, rows: Sequence[Row]) -> None:
    """Write one panel per axis with a line per codec; bands show the lowest and highest repeat.

    Args:
        path: PNG or SVG.
        rows: of the report of ``scripts.bench``.
    """
    drawn = {check: label for check, label in _AXES.items() if any(row.check == check for row in rows)}
    codecs = list(dict.fromkeys(row.codec for row in rows if row.check in _AXES))
    with figure_file(path, ncols=len(drawn), figsize=(13, 3.6), sharey=True, squeeze=False) as (_, grid):
        panels = grid[0]
        for axes, (check, label) in zip(panels, drawn.items(), strict=True):
            for index, codec in enumerate(codecs):
                points = [row for row in rows if (row.check, row.codec) == (check, codec)]
                at = [row.at or 0 for row in points]
                axes.plot(
                    at, [row.value for row in points], "o-", color=f"C{index}", label=codec, markersize=3
                )
                low, high = ([getattr(row, end) or row.value for row in points] for end in ("low", "high"))
                axes.fill_between(at, low, high, color=f"C{index}", alpha=0.12)
            axes.set(xlabel=label, xscale="log", yscale="log")
            axes.xaxis.set_major_formatter("{x:g}")
            axes.yaxis.set_major_formatter("{x:g}")
            axes.grid(visible=True, which="both", alpha=0.25)
        panels[0].set_ylabel("ms per frame")
        panels[0].legend(fontsize="small")
