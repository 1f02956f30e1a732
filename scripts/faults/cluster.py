"""Some real servers of the same models, to be killed, restarted and cut off."""

import os
import signal
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

from scripts.faults.flaky_proxy import FlakyProxy
from tritone_server.interrupts import stopped_by_signals
from tritone_server.launcher import Ports, TritonServer

__all__ = ["Cluster", "cluster"]


class Cluster:
    """Servers, each behind a proxy that can be told to fail."""

    def __init__(self, servers: Sequence[TritonServer], proxies: Sequence[FlakyProxy]):
        self.servers, self.proxies = servers, proxies

    @property
    def urls(self) -> list[str]:
        """Of the proxies."""
        return [proxy.url for proxy in self.proxies]

    def running(self, number: int) -> bool:
        """Whether it is there."""
        return self.servers[number].running

    def kill(self, number: int) -> None:
        """Server and models, without a word."""
        os.killpg(self.servers[number].pid, signal.SIGKILL)

    def restart(self, number: int) -> None:
        """Ask it to stop, if it lives, and start it at the same ports; until its models are ready."""
        self.servers[number].stop()
        self.servers[number].start()


@contextmanager
def cluster(repository: Path, codecs: Sequence[str], count: int) -> Iterator[Cluster]:
    """So many servers, started together."""
    servers = [TritonServer(repository, codecs, ports=Ports.free()) for _ in range(count)]
    with stopped_by_signals(), ExitStack() as stack:
        for server in servers:
            stack.callback(server.stop)
        with ThreadPoolExecutor(count) as pool:
            list(pool.map(TritonServer.start, servers))
        yield Cluster(servers, [stack.enter_context(FlakyProxy(server.url)) for server in servers])
