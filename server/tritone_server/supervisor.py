"""Restart a server after faults that Triton does not handle itself.

Triton still reports that it is ready after a model's process has ended or was stopped, and does not replace
the process. A model's process may also outlive a server that crashed.
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
from tritone_server.log_watch import STATE_LEFT_GPU, LogWatch

__all__ = ["MOST_RESTARTS", "Supervisor"]

MOST_RESTARTS, _WITHIN_S = 5, 300.0
_INTERVAL_S, _STOPPED_S = 0.3, 1.0
_STOPPED = (psutil.STATUS_STOPPED, psutil.STATUS_TRACING_STOP)
_STATE_LEFT = (
    "the server's memory pool on the GPU is full: in every step the state of live streams goes through main "
    "memory; build the engines again for fewer streams (tritone-build engines --max-streams)"
)

_log = logging.getLogger("tritone")


class Supervisor:
    """Watches a server that was started; as a context manager it does so in a thread.

    Args:
        server: the server to watch.
        log: called with a line of text for each restart.
        most_restarts: most restarts within five minutes; the next fault stops the server. With 0 the first
            fault stops it.
        clock: returns seconds; it must not go backwards.
    """

    def __init__(
        self,
        server: TritonServer,
        log: Callable[[str], None] = _log.warning,
        most_restarts: int = MOST_RESTARTS,
        clock: Callable[[], float] = time.monotonic,
    ):
        self._server, self._log, self._most, self._clock = server, log, most_restarts, clock
        self._restarts: deque[float] = deque()
        self._stopped_since: dict[int, float] = {}
        self._full_pool = LogWatch(server.log, STATE_LEFT_GPU)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run_in_thread, daemon=True)
        self.restarts = 0

    def run(self) -> int:
        """Watch until the server ends with status 0, and return that status.

        Raises:
            ServerError: the server has a fault, and has reached its limit of restarts or cannot restart. It
                has been stopped.
        """
        # A wait without timeout would miss signals that another thread receives.
        while not self._over.wait(_INTERVAL_S):
            status = self._server.exit_status
            if status == 0:
                break
            if self._full_pool.found():
                self._log(_STATE_LEFT)
            fault = self.fault() if status is None else f"the server ended with status {status}"
            if fault is not None:
                self._restart(fault)
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
            self._log(str(error))

    def fault(self) -> str | None:
        """Why the server must be restarted; None if its processes look healthy."""
        now, stopped = self._clock(), dict[int, float]()
        for process, status in self._processes():
            if status in _STOPPED:
                stopped[process] = self._stopped_since.get(process, now)
            # While a server stops it is not ready, and its models end before it does.
            elif status == psutil.STATUS_ZOMBIE and self._server.ready:
                return "the process of a model ended"
        self._stopped_since = stopped
        if any(now - since >= _STOPPED_S for since in stopped.values()):
            return f"a process of the server has been stopped for {_STOPPED_S:g} s"
        return None

    def _processes(self) -> Iterator[tuple[int, str]]:
        """Process ids of the server and its models, each with its status."""
        with suppress(psutil.NoSuchProcess):  # the server has just ended
            server = psutil.Process(self._server.pid)
            for process in [server, *server.children()]:
                with suppress(psutil.NoSuchProcess):
                    yield process.pid, process.status()

    def _restart(self, fault: str) -> None:
        self._server.kill()
        self._refuse_too_many(fault)
        self._log(f"{fault}, so the server is restarted (its log: {self._server.previous_log})")
        self._server.start()
        self._stopped_since.clear()
        self.restarts += 1
        self._log(f"serving again: gRPC {self._server.url}")

    def _refuse_too_many(self, fault: str) -> None:
        now = self._clock()
        while self._restarts and self._restarts[0] < now - _WITHIN_S:
            self._restarts.popleft()
        if len(self._restarts) >= self._most:
            before = f"; it was restarted {self._most} times within {_WITHIN_S:g} s" if self._most else ""
            raise ServerError(f"{fault}{before}, so the server was stopped (log: {self._server.log})")
        self._restarts.append(now)
