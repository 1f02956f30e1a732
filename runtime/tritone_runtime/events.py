"""What has happened to the live streams of a model: figures for metrics, and lines for the log."""

import hashlib
import json
import sys
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

__all__ = ["Counters", "EventLog", "tag_of"]

_MOST_WAITING = 1000


@dataclass
class Counters:
    """Since the model was loaded; ``batches`` is steps and seconds by batch size."""

    refused: int = 0
    expired: int = 0
    resumed: int = 0
    late: int = 0
    batches: dict[int, tuple[int, float]] = field(default_factory=dict)


class EventLog:
    """Events as lines of JSON; requests only leave them here, and :meth:`write` puts them into the log.

    Args:
        model: named in every line.
        everything: lines for streams that begin and end as they should, too.
        put: where a line goes.
    """

    def __init__(self, model: str, everything: bool = False, put: Callable[[str], object] = sys.stderr.write):
        self._model, self._everything, self._put = model, everything, put
        self._waiting: deque[dict[str, Any]] = deque(maxlen=_MOST_WAITING)
        self._noted = self._written = 0

    def note(self, event: str, stream: int | str, routine: bool = False, **more: Any) -> None:
        """Keep an event of a stream until it is written."""
        if routine and not self._everything:
            return
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        self._waiting.append(
            {"time": now, "event": event, "model": self._model, "stream": tag_of(stream), **more}
        )
        self._noted += 1

    def write(self) -> None:
        """Write what waits; of a flood the newest, with the number of those before."""
        lines = []
        while self._waiting:
            lines.append(self._waiting.popleft())
        self._written, before = self._noted, self._noted - self._written
        if before > len(lines):
            lines.insert(0, {"event": "more", "model": self._model, "events": before - len(lines)})
        if lines:
            self._put("".join(json.dumps(line) + "\n" for line in lines))


def tag_of(stream: int | str) -> str:
    """The name of a stream in logs, which clients make the same way: its id would let others into it."""
    return hashlib.sha256(str(stream).encode()).hexdigest()[:12]
