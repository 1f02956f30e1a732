"""perf_analyzer in a closed loop: so many requests at a time, each followed by another once answered."""

from dataclasses import dataclass
from pathlib import Path

__all__ = ["ClosedLoop"]

_WINDOWS, _WINDOW_STRETCH, _LEAD_S = 3, 1.2, 1.0


@dataclass(frozen=True)
class ClosedLoop:
    """So many requests at a time to a model without memory, for so long.

    Args:
        url: host and gRPC port.
        model: its name.
        inputs: JSON of the requests, which are sent in turn.
        at_once: requests that wait for their answers.
        seconds: measured, after a second that is not.
    """

    url: str
    model: str
    inputs: Path
    at_once: int
    seconds: float

    @property
    def duration_s(self) -> float:
        """How long it takes if the server answers."""
        return self.seconds + _LEAD_S

    def command(self, executable: Path, export: Path) -> list[str]:
        """The command line."""
        options = {
            "concurrency-range": self.at_once,
            "input-data": self.inputs,
            "measurement-mode": "time_windows",
            "measurement-interval": round(1000 * self.duration_s / _WINDOWS / _WINDOW_STRETCH),
            "stability-percentage": 999,
            "max-trials": _WINDOWS,
            "profile-export-file": export,
        }
        flags = [f"--{name}={value}" for name, value in options.items()]
        return [str(executable), "-m", self.model, "-u", self.url, "-i", "grpc", *flags]
