"""Watches a server's log for a text."""

from contextlib import suppress
from pathlib import Path

__all__ = ["STATE_LEFT_GPU", "LogWatch"]

STATE_LEFT_GPU = "falling back to pinned system memory"
"""What Triton logs, once, when its memory pool on the GPU is full (core, src/memory.cc)."""


class LogWatch:
    """Finds a text in what was written to a log since the last look.

    Args:
        log: the file; it may be missing, grow, or begin anew.
        text: one line, or a part of it.
    """

    def __init__(self, log: Path, text: str):
        self._log, self._text, self._read = log, text.encode(), 0

    def found(self) -> bool:
        """Whether the text was written since the last call."""
        with suppress(FileNotFoundError), self._log.open("rb") as file:
            size = file.seek(0, 2)
            begin = 0 if size < self._read else max(0, self._read - len(self._text) + 1)
            file.seek(begin)
            new = file.read()
            self._read = begin + len(new)
            return self._text in new
        return False
