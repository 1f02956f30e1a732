"""Loss curves of a training run, as a picture."""

import json
from pathlib import Path

import matplotlib as mpl

from scripts.train.training import LOSSES

__all__ = ["draw_losses"]


def draw_losses(log: Path, picture: Path) -> Path:
    """Every loss over the steps, trained on and held out; the picture's suffix says its format."""
    mpl.use("Agg")
    mpl.rcParams["svg.hashsalt"] = "losses"
    from matplotlib import pyplot

    lines = [json.loads(line) for line in log.read_text().splitlines()]
    figure, panels = pyplot.subplots(1, len(LOSSES), figsize=(11, 3.4), layout="constrained")
    for axes, name in zip(panels, LOSSES, strict=True):
        for key, told, style in ((name, "trained on", "-"), (f"held_out_{name}", "held out", "o--")):
            points = [(line["step"], line[key]) for line in lines if key in line]
            axes.plot(*zip(*points, strict=True), style, label=told, markersize=3, linewidth=1)
        axes.set(title=name, xlabel="step", yscale="log")
        axes.grid(alpha=0.3, which="both")
        axes.legend()
    figure.savefig(picture, metadata={"Date": None} if picture.suffix == ".svg" else None)
    pyplot.close(figure)
    return picture
