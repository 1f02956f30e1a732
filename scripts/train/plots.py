"""Plot of the losses of a training run."""

import json
from pathlib import Path

from scripts.common.plots import figure_file
from scripts.train.training import LOSSES

__all__ = ["plot_losses"]


def plot_losses(log: Path, path: Path) -> Path:
    """Plot every loss over the steps, for training and held-out speech; return ``path``.

    Args:
        log: ``log.jsonl`` of the run.
        path: SVG or PNG to write.
    """
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    with figure_file(path, ncols=len(LOSSES), figsize=(11, 3.4)) as (_, panels):
        for axes, name in zip(panels, LOSSES, strict=True):
            for key, label, style in ((name, "training", "-"), (f"held_out_{name}", "held out", "o--")):
                points = [(line["step"], line[key]) for line in lines if key in line]
                axes.plot(*zip(*points, strict=True), style, label=label, markersize=3, linewidth=1)
            axes.set(title=name, xlabel="step", yscale="log")
            axes.grid(alpha=0.3, which="both")
            axes.legend()
    return path
