"""Keeps a server at work: it is restarted where something of it broke that Triton itself does not notice.

Triton goes on to say that it is ready when the process of a model has ended or was stopped. It replaces
neither, and the process of a model may outlive a server that crashed.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from types import TracebackType

import psutil

from tritone_server.launcher import ServerError, TritonServer

__all__ = ["MOST_RESTARTS", "Supervisor"]

MOST_RESTARTS, _WITHIN_S = 5, 300.0
_LOOK_S, _STOPPED_S = 0.3, 1.0
_STOPPED = (psutil.STATUS_STOPPED, psutil.STATUS_TRACING_STOP)

_log = logging.getLogger("tritone")


class Supervisor:
    """Watches a server that was started; a context manager does so in a thread.

    Args:
        server: to be watched.
        say: called with a line for each restart.
        most_restarts: within five minutes; then the server is stopped. With 0 the first fault stops it.
        clock: seconds.
    """

    def __init__(
        self,
        server: TritonServer,
        say: Callable[[str], None] = _log.warning,
        most_restarts: int = MOST_RESTARTS,
        clock: Callable[[], float] = time.monotonic,
    ):
        self._server, self._say, self._most, self._clock = server, say, most_restarts, clock
        self._restarts: deque[float] = deque()
        self._stopped_since: dict[int, float] = {}
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run_in_thread, daemon=True)
        self.restarts = 0

    def run(self) -> int:
        """Watch until the server ends as it was told to; its exit status.

        Raises:
            ServerError: it is broken, and may not be restarted or cannot; it was stopped.
        """
        while not self._over.wait(
            _LOOK_S
        ):  # a blocking wait would not hear a signal that another thread takes
            status = self._server.exit_status
            if status == 0:
                break
            broken = self.what_is_broken() if status is None else f"the server ended with status {status}"
            if broken is not None:
                self._replace(broken)
        return 0

    def __enter__(self) -> "Supervisor":
        self._thread.start()
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._over.set()
        self._thread.join()

    def _run_in_thread(self) -> None:
        try:
            self.run()
        except ServerError as error:
            self._say(str(error))

    def what_is_broken(self) -> str | None:
        """Why the server must be replaced; None where it works, as far as its processes tell."""
        now, stopped = self._clock(), dict[int, float]()
        for process, status in self._processes():
            if status in _STOPPED:
                stopped[process] = self._stopped_since.get(process, now)
            # A server that was told to stop is not ready, and its models end before it.
            elif status == psutil.STATUS_ZOMBIE and self._server.ready:
                return "the process of a model ended"
        self._stopped_since = stopped
        if any(now - since >= _STOPPED_S for since in stopped.values()):
            return f"a process of the server has been stopped for {_STOPPED_S:g} s"
        return None

    def _processes(self) -> Iterator[tuple[int, str]]:
        """The server and those of its models, each with its status."""
        with suppress(psutil.NoSuchProcess):  # the server ended just now
            server = psutil.Process(self._server.pid)
            for process in [server, *server.children()]:
                with suppress(psutil.NoSuchProcess):
                    yield process.pid, process.status()

    def _replace(self, broken: str) -> None:
        self._server.kill()
        self._refuse_too_many(broken)
        self._say(f"{broken}, so the server is restarted (its log: {self._server.previous_log})")
        self._server.start()
        self._stopped_since.clear()
        self.restarts += 1
        self._say(f"serving again: gRPC {self._server.url}")

    def _refuse_too_many(self, broken: str) -> None:
        now = self._clock()
        while self._restarts and self._restarts[0] < now - _WITHIN_S:
            self._restarts.popleft()
        if len(self._restarts) >= self._most:
            before = f"; it was restarted {self._most} times within {_WITHIN_S:g} s" if self._most else ""
            raise ServerError(f"{broken}{before}, so the server was stopped (log: {self._server.log})")
        self._restarts.append(now)
