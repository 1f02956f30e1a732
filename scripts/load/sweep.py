"""A sweep over numbers of live streams: when it is over, and how many streams a server can serve."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite

from scripts.common.realtime_streams import StreamResult
from scripts.load.perf_analyzer import Load, Result, unanswered_share

__all__ = ["Point", "Sweep"]

_MISSING_ALLOWED = 0.01
_SATURATED = 0.1
_LATE_IN_A_ROW = 2


@dataclass(frozen=True)
class Point:
    """One number of streams.

    Args:
        result: of perf_analyzer's.
        mean_batch: how many shared a step, where the server tells.
        heard: how the one fared that was a listener of ours, if one was.
    """

    result: Result[Load]
    mean_batch: float | None = None
    heard: StreamResult | None = None

    @property
    def streams(self) -> int:
        """At the same time."""
        return self.result.load.streams + (self.heard is not None)

    @property
    def frame_ms(self) -> float:
        """Time between two frames of a stream, within which each must be answered."""
        return 1000 / self.result.load.rate_hz

    @property
    def late(self) -> bool:
        """Whether more than one answer in a hundred came after the next frame was due."""
        return self.result.percentile_ms(99) >= self.frame_ms

    @property
    def real_time(self) -> bool:
        """Whether the streams were served as they must be."""
        heard_late = self.heard is not None and not self.heard.in_time
        unanswered = unanswered_share(self.result) > _MISSING_ALLOWED
        return not (self.late or heard_late or self.result.errors or unanswered)


@dataclass(frozen=True)
class Sweep:
    """The points of one model, streams rising."""

    codec: str
    model: str
    points: Sequence[Point]

    @property
    def knee(self) -> int:
        """The most streams that were served in real time; 0 if none were."""
        return max((point.streams for point in self.points if point.real_time), default=0)

    @property
    def answered(self) -> list[Point]:
        """The points at which no stream was failed."""
        return [point for point in self.points if isfinite(point.result.percentile_ms(99))]

    @property
    def over(self) -> bool:
        """Whether more streams would only show the same: late twice in a row, saturated, or failed."""
        last = self.points[-_LATE_IN_A_ROW:]
        if len(last) == _LATE_IN_A_ROW and all(point.late for point in last):
            return True
        return any(point.result.errors or unanswered_share(point.result) > _SATURATED for point in last[-1:])
