"""Reading what a server publishes for Prometheus about live streams."""

import re
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping

from tritone_server.direct import opened

__all__ = [
    "fresh_page",
    "live_streams",
    "mean_batch",
    "page",
    "parse_seconds",
    "parse_steps",
    "steps_by_batch",
]

_PUBLISH_INTERVAL_S = 0.7
"""A little over the half second after which the server publishes again."""
_TIMEOUT_S = 60


def page(url: str) -> str:
    """The text of the metrics page."""
    with opened(url, _TIMEOUT_S) as answer:
        return str(answer.read().decode())


def fresh_page(url: str) -> str:
    """The metrics page after the server has published all that happened before the call."""
    time.sleep(_PUBLISH_INTERVAL_S)
    return page(url)


def steps_by_batch(url: str, model: str) -> dict[int, float]:
    """How many steps a model has run so far, by batch size; empty if the server does not count them."""
    return parse_steps(fresh_page(url), model)


def parse_steps(text: str, model: str) -> dict[int, float]:
    """As :func:`steps_by_batch`, from the text of the metrics page."""
    steps = defaultdict[int, float](float)  # each process of a model has a series of its own
    for labels, value in _series(text, "tritone_stream_steps_total"):
        if labels.get("model") == model and "batch" in labels:
            steps[int(labels["batch"])] += value
    return dict(steps)


def parse_seconds(text: str, model: str) -> float:
    """Seconds that a model has spent in steps so far."""
    series = _series(text, "tritone_stream_step_seconds_total")
    return sum(value for labels, value in series if labels.get("model") == model)


def live_streams(text: str) -> float:
    """The number of live streams of all models."""
    return sum(value for _, value in _series(text, "tritone_streams_live"))


def _series(text: str, name: str) -> Iterator[tuple[dict[str, str], float]]:
    for labels, value in re.findall(rf"^{name}\{{([^}}]*)\}} (\S+)$", text, re.MULTILINE):
        yield dict(re.findall(r'(\w+)="([^"]*)"', labels)), float(value)


def mean_batch(before: Mapping[int, float], after: Mapping[int, float]) -> float | None:
    """Mean batch size of the steps between two readings; None if no step was counted."""
    ran = {size: steps - before.get(size, 0.0) for size, steps in after.items()}
    total = sum(ran.values())
    return sum(size * steps for size, steps in ran.items()) / total if total else None
