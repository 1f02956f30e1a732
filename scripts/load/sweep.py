"""A sweep over numbers of live streams: when it ends, and how many streams were served in real time."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite

from scripts.common.realtime_streams import StreamResult
from scripts.load.perf_analyzer import Result, StreamLoad, unanswered_share

__all__ = ["Point", "Sweep"]

_MISSING_ALLOWED = 0.01
_SATURATED = 0.1
_LATE_POINTS = 2


@dataclass(frozen=True)
class Point:
    """The measurement at one number of streams.

    Args:
        result: of the streams that perf_analyzer ran.
        mean_batch: mean number of streams per step, if the server counts it.
        listener: result of the one stream that our own client ran, if there was one.
    """

    result: Result[StreamLoad]
    mean_batch: float | None = None
    listener: StreamResult | None = None

    @property
    def streams(self) -> int:
        """Live streams at the same time, the listener included."""
        return self.result.load.streams + (self.listener is not None)

    @property
    def frame_ms(self) -> float:
        """Duration of a frame, within which each must be answered."""
        return 1000 / self.result.load.rate_hz

    @property
    def late(self) -> bool:
        """Whether more than one answer in a hundred came after the next frame was due."""
        return self.result.percentile_ms(99) >= self.frame_ms

    @property
    def real_time(self) -> bool:
        """Whether answers were in time and complete, for the listener too, and no stream failed."""
        listener_late = self.listener is not None and not self.listener.in_time
        unanswered = unanswered_share(self.result) > _MISSING_ALLOWED
        return not (self.late or listener_late or self.result.errors or unanswered)


@dataclass(frozen=True)
class Sweep:
    """The points of one model, by rising number of streams."""

    codec: str
    model: str
    points: Sequence[Point]

    @property
    def knee(self) -> int:
        """The largest number of streams that was served in real time; 0 if there is none."""
        return max((point.streams for point in self.points if point.real_time), default=0)

    @property
    def answered(self) -> list[Point]:
        """The points at which no stream failed."""
        return [point for point in self.points if isfinite(point.result.percentile_ms(99))]

    @property
    def over(self) -> bool:
        """Whether to stop: two late points in a row, a tenth of the frames unanswered, or a failed stream."""
        last = self.points[-_LATE_POINTS:]
        if len(last) == _LATE_POINTS and all(point.late for point in last):
            return True
        return any(point.result.errors or unanswered_share(point.result) > _SATURATED for point in last[-1:])
