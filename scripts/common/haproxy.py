"""HAProxy with the configuration of deploy/ in front of servers on this machine."""

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
    """Whether this machine has it."""
    return shutil.which("haproxy") is not None


class Haproxy:
    """A context manager; ``url`` stays the same when it is started again.

    Args:
        servers: three.
        settings: more of its configuration's variables.
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
        """Start it; ServerError where it does not listen. It takes all servers for ready at first."""
        self._log.parent.mkdir(parents=True, exist_ok=True)
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                ["haproxy", "-f", str(_CONFIG)], env=os.environ | self._environment, stdout=log, stderr=log
            )
        deadline = time.monotonic() + _START_S
        while not _listens(self.url):
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise ServerError(f"HAProxy does not listen at {self.url}: try haproxy -c -f {_CONFIG}")
            time.sleep(0.05)

    def stop(self) -> None:
        """End it, and every connection through it."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def sends_to(self, number: int) -> bool:
        """Whether it gives new streams to a server, by its log; the first one is 1."""
        told = re.findall(rf"Server servers/triton{number} is (UP|DOWN)", self._log.read_text())
        return not told or told[-1] == "UP"

    def __enter__(self) -> "Haproxy":
        self.start()
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.stop()


def _listens(url: str) -> bool:
    host, _, port = url.partition(":")
    with socket.socket() as probe:
        return probe.connect_ex((host, int(port))) == 0
