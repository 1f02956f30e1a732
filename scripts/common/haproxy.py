"""HAProxy, configured by deploy/haproxy.cfg, in front of servers on this machine."""

import os
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType

from tritone_server.cache import CACHE
from tritone_server.launcher import Ports, ServerError, TritonServer

__all__ = ["Haproxy", "installed"]

_CONFIG = Path(__file__).resolve().parents[2] / "deploy" / "haproxy.cfg"
_START_S = 60.0


def installed() -> bool:
    """Whether the program ``haproxy`` is on this machine."""
    return shutil.which("haproxy") is not None


class Haproxy:
    """A running HAProxy, as a context manager; ``url`` stays the same after a restart.

    Args:
        servers: three servers; the configuration names that many.
        settings: further environment variables of the configuration, such as ``TRITONE_API_KEYS``.
    """

    def __init__(self, servers: Sequence[TritonServer], settings: Mapping[str, Path] | None = None):
        self.url = f"127.0.0.1:{Ports.free().grpc}"
        self._environment = {"TRITONE_LISTEN": self.url}
        self._environment |= {name: str(value) for name, value in (settings or {}).items()}
        for number, server in enumerate(servers, start=1):
            self._environment[f"TRITONE_{number}"] = server.url
            self._environment[f"TRITONE_{number}_HTTP"] = str(server.ports.http)
        self._process: subprocess.Popen[bytes] | None = None
        self._log = CACHE / "logs" / f"haproxy-{self.url.rpartition(':')[2]}.log"

    def start(self) -> None:
        """Start HAProxy; until its first health checks it takes all servers for ready.

        Raises:
            ServerError: it does not listen within a minute.
        """
        self._log.parent.mkdir(parents=True, exist_ok=True)
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                ["haproxy", "-f", str(_CONFIG)], env=os.environ | self._environment, stdout=log, stderr=log
            )
        deadline = time.monotonic() + _START_S
        while not _listens(self.url):
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise ServerError(
                    f"HAProxy does not listen at {self.url}; its log is {self._log}; "
                    f"haproxy -c -f {_CONFIG} checks its configuration"
                )
            time.sleep(0.05)

    def stop(self) -> None:
        """Kill HAProxy, which breaks every connection through it."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def sends_to(self, number: int) -> bool:
        """Whether, by its log, HAProxy sends new streams to a server; the first server is 1."""
        states = re.findall(rf"Server servers/triton{number} is (UP|DOWN)", self._log.read_text())
        return not states or states[-1] == "UP"

    def __enter__(self) -> "Haproxy":
        self.start()
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.stop()


def _listens(url: str) -> bool:
    host, _, port = url.partition(":")
    with socket.socket() as probe:
        return probe.connect_ex((host, int(port))) == 0
