"""Several real servers of the same models, which can be killed, restarted and cut off."""

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
    """Servers, each behind a proxy that can break or stall its connections."""

    def __init__(self, servers: Sequence[TritonServer], proxies: Sequence[FlakyProxy]):
        self.servers, self.proxies = servers, proxies

    @property
    def urls(self) -> list[str]:
        """Addresses of the proxies."""
        return [proxy.url for proxy in self.proxies]

    def running(self, number: int) -> bool:
        """Whether a server runs."""
        return self.servers[number].running

    def kill(self, number: int) -> None:
        """Send SIGKILL to a server and the processes of its models."""
        os.killpg(self.servers[number].pid, signal.SIGKILL)

    def restart(self, number: int) -> None:
        """Stop a server, if it runs, start it on the same ports, and wait until its models are ready."""
        self.servers[number].stop()
        self.servers[number].start()


@contextmanager
def cluster(repository: Path, codecs: Sequence[str], count: int) -> Iterator[Cluster]:
    """Run ``count`` servers, which start at the same time."""
    servers = [TritonServer(repository, codecs, ports=Ports.free()) for _ in range(count)]
    with stopped_by_signals(), ExitStack() as stack:
        for server in servers:
            stack.callback(server.stop)
        with ThreadPoolExecutor(count) as pool:
            list(pool.map(TritonServer.start, servers))
        yield Cluster(servers, [stack.enter_context(FlakyProxy(server.url)) for server in servers])
