"""How many streams shared a step, from the counters that the server publishes for Prometheus."""

import re
import time
import urllib.request
from collections.abc import Mapping

__all__ = ["mean_batch", "parse_steps", "step_seconds", "steps_by_batch"]

_PUBLISHED_S = 0.7
_STEPS = re.compile(r"^tritone_stream_steps_total\{([^}]*)\} (\S+)$", re.MULTILINE)
_SECONDS = re.compile(r"^tritone_stream_step_seconds_total\{([^}]*)\} (\S+)$", re.MULTILINE)
_TIMEOUT_S = 5


def steps_by_batch(url: str, model: str) -> dict[int, float]:
    """Steps that a model has run so far, by the streams in them; empty where nobody counts them."""
    time.sleep(_PUBLISHED_S)  # the server publishes twice a second
    with urllib.request.urlopen(url, timeout=_TIMEOUT_S) as answer:
        return parse_steps(answer.read().decode(), model)


def parse_steps(text: str, model: str) -> dict[int, float]:
    """As :func:`steps_by_batch`, from the text of the metrics page."""
    steps: dict[int, float] = {}
    for labels, value in _STEPS.findall(text):
        named = dict(re.findall(r'(\w+)="([^"]*)"', labels))
        if named.get("model") == model and "batch" in named:
            steps[int(named["batch"])] = float(value)
    return steps


def step_seconds(url: str, model: str) -> float:
    """Time that a model has spent in steps so far."""
    time.sleep(_PUBLISHED_S)
    with urllib.request.urlopen(url, timeout=_TIMEOUT_S) as answer:
        found = _SECONDS.findall(answer.read().decode())
    return sum(float(value) for labels, value in found if f'model="{model}"' in labels)


def mean_batch(before: Mapping[int, float], after: Mapping[int, float]) -> float | None:
    """Streams per step between two readings; None where no step was counted."""
    ran = {size: steps - before.get(size, 0.0) for size, steps in after.items()}
    total = sum(ran.values())
    return sum(size * steps for size, steps in ran.items()) / total if total else None
