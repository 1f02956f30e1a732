"""Programs that receive SIGTERM stop the servers they have started before they exit."""

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["stopped_by_signals"]


@contextmanager
def stopped_by_signals() -> Iterator[None]:
    """Within the context SIGTERM raises SystemExit, so that ``finally`` blocks stop the servers."""
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may set signal handlers
        return

    def exit_with_status(number: int, _: object) -> None:
        sys.exit(128 + number)

    before = signal.signal(signal.SIGTERM, exit_with_status)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
