"""Figures of a gateway, in the text format of Prometheus."""

from collections import Counter
from collections.abc import Mapping

__all__ = ["Metrics"]

_HELP = {
    "sockets_live": ("gauge", "live sockets"),
    "sockets_total": ("counter", "sockets that were accepted"),
    "requests_total": ("counter", "whole files that were decoded or encoded"),
    "frames_total": ("counter", "frames of tokens that were decoded or encoded"),
    "audio_seconds_total": ("counter", "seconds of audio that were decoded or encoded"),
    "errors_total": ("counter", "errors that clients were told, by type"),
    "waits_total": ("counter", "times that a stream was too far ahead of real time and waited"),
}

Labels = tuple[tuple[str, str], ...]


class Metrics:
    """Counters by name and labels; all belong to one event loop."""

    def __init__(self) -> None:
        self._values: Counter[tuple[str, Labels]] = Counter()

    def add(self, name: str, value: float = 1, **labels: str) -> None:
        """Add to a counter."""
        assert name in _HELP
        self._values[name, tuple(labels.items())] += value  # type: ignore[assignment]

    def text(self, gauges: Mapping[str, float]) -> str:
        """All figures; ``gauges`` are those that are read when they are asked for."""
        found: dict[tuple[str, Labels], float] = {(name, ()): value for name, value in gauges.items()}
        found.update(self._values)
        lines = []
        for name, (kind, meaning) in _HELP.items():
            full = f"tritone_gateway_{name}"
            lines += [f"# HELP {full} {meaning}", f"# TYPE {full} {kind}"]
            rows = {labels: value for (each, labels), value in found.items() if each == name} or {(): 0}
            lines += [f"{full}{_written(labels)} {value:.10g}" for labels, value in rows.items()]
        return "\n".join(lines) + "\n"


def _written(labels: Labels) -> str:
    return "{" + ",".join(f'{name}="{value}"' for name, value in labels) + "}" if labels else ""
