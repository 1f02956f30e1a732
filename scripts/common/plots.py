"""Figures written to files, without a window."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

__all__ = ["figure_file"]


@contextmanager
def figure_file(path: Path, **subplots: Any) -> Iterator[tuple[Figure, Any]]:
    """A figure and its axes to draw on; the file is written when the context ends.

    The same drawing gives the same SVG file: its ids are seeded, and it contains no date.

    Args:
        path: PNG or SVG.
        subplots: options of ``pyplot.subplots``.
    """
    mpl.use("Agg")
    mpl.rcParams["svg.hashsalt"] = "tritone"
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(layout="constrained", **subplots)
    try:
        yield figure, axes
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, dpi=110, metadata={"Date": None} if path.suffix == ".svg" else None)
    finally:
        pyplot.close(figure)
