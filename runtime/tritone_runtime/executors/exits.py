"""How a process that runs models ends.

No model runs while the interpreter ends. A daemon thread that comes back from ONNX Runtime then aborts the
whole process: Python ends the thread within code that allows no such end.
"""

import atexit
import ctypes
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from tritone_runtime.errors import StepError

__all__ = ["Runs", "runs"]


class Runs:
    """The runs of models in this process, until it ends."""

    def __init__(self) -> None:
        self.begin()

    def begin(self) -> None:
        """Count from none; a forked child has none of its parent's runs."""
        self._changed = threading.Condition()
        self._count, self._ended_by = 0, 0

    def refuse_after_end(self) -> None:
        """Raise StepError in the thread that ended the runs; any other thread waits, for ever."""
        if not self._ended_by:
            return
        if self._ended_by == threading.get_ident():
            raise StepError("the interpreter is about to end: no model runs any more")
        while True:
            threading.Event().wait()

    @contextmanager
    def one(self) -> Iterator[None]:
        """A run; errors as of :meth:`refuse_after_end`."""
        with self._changed:
            ended = self._ended_by
            self._count += not ended
        if ended:
            self.refuse_after_end()
        try:
            yield
        finally:
            with self._changed:
                self._count -= 1
                if self._ended_by:
                    self._changed.notify_all()

    def end(self) -> None:
        """Wait for the runs that have begun; no other one begins."""
        with self._changed:
            self._ended_by = threading.get_ident()
            while self._count:
                self._changed.wait()


def _in_child() -> None:
    """ONNX Runtime waits at the end of a process for its threads, which a fork does not copy: skip that."""
    runs.begin()
    library = ctypes.CDLL(None)
    if hasattr(library, "on_exit"):
        library.on_exit(library._exit, None)


runs = Runs()
atexit.register(runs.end)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)
