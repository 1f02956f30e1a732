"""Events of a model's live streams: counters for metrics, and lines for the log."""

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
    """Counts since the model was loaded; ``batches`` maps a batch size to (batches, seconds)."""

    refused: int = 0
    expired: int = 0
    resumed: int = 0
    late: int = 0
    clipped: int = 0
    batches: dict[int, tuple[int, float]] = field(default_factory=dict)


class EventLog:
    """Events as lines of JSON. Requests only queue them; :meth:`write` writes them to the log.

    Args:
        model: name of the model, which is in every line.
        everything: also log streams that begin and end normally.
        put: writes text to the log.
    """

    def __init__(self, model: str, everything: bool = False, put: Callable[[str], object] = sys.stderr.write):
        self._model, self._everything, self._put = model, everything, put
        self._waiting: deque[dict[str, Any]] = deque(maxlen=_MOST_WAITING)
        self._noted = self._written = 0

    def note(self, event: str, stream: int | str, routine: bool = False, **more: Any) -> None:
        """Queue an event of a stream; ``routine`` events are logged only with ``everything``."""
        if routine and not self._everything:
            return
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        self._waiting.append(
            {"time": now, "event": event, "model": self._model, "stream": tag_of(stream), **more}
        )
        self._noted += 1

    def write(self) -> None:
        """Write the queued events; if there were too many, the newest ones and the number of lost ones."""
        lines = []
        while self._waiting:
            lines.append(self._waiting.popleft())
        self._written, queued = self._noted, self._noted - self._written
        if queued > len(lines):
            lines.insert(0, {"event": "more", "model": self._model, "events": queued - len(lines)})
        if lines:
            self._put("".join(json.dumps(line) + "\n" for line in lines))


def tag_of(stream: int | str) -> str:
    """Name of a stream in logs of server and client: a hash, because the id gives access to the stream."""
    return hashlib.sha256(str(stream).encode()).hexdigest()[:12]
