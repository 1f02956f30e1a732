"""Pause the process of a model, a whole server, or all servers, under live streams and offline requests.

After a second without an answer Triton gives up on the process of a model, and may then mix up answers
(docs/operations.md). So all concurrent inputs differ, and every result is compared with the right one.
"""

import itertools
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from threading import Event
from types import TracebackType

import numpy as np
import psutil

from scripts.common.report import Row
from scripts.common.waiting import seconds_until
from scripts.faults.cluster import Cluster
from scripts.faults.load_generator import LoadGenerator, LoadResult, UtteranceSet, failures_of, lost_row
from tritone_client import Codec, Resume, TritoneError
from tritone_server.launcher import TritonServer
from tritone_server.supervisor import Supervisor

__all__ = ["MODEL", "pause", "pause_rows", "processes_of", "supervised"]

MODEL = "model"
_SCOPES, _SECONDS = (MODEL, "server", "all"), (0.5, 1.1, 3.0)
_KINDS = list(itertools.product(_SECONDS, _SCOPES))
_PLACES, _SEED, _MAX_RESTARTS = 8, 0, 10_000
_SETTLE_S, _POLL_S, _READY_S = 2.0, 0.2, 600.0
_RESUME = Resume(deadline_s=600)


def pause_rows(servers: Cluster, utterances: Mapping[str, UtteranceSet], count: int) -> list[Row]:
    """Pause something ``count`` times, for 0.5, 1.1 and 3 s; rows for live streams and offline requests."""
    with ExitStack() as stack:
        supervisors = stack.enter_context(supervised(servers))
        load = stack.enter_context(LoadGenerator(utterances, servers.urls, _PLACES, _RESUME))
        offline = stack.enter_context(_OfflineClients(utterances, servers.urls))
        time.sleep(_SETTLE_S)
        for number in range(count):
            seconds, scope = _KINDS[number % len(_KINDS)]
            pause(processes_of(servers, scope, number), seconds)
            time.sleep(_SETTLE_S)
            _wait_until_ready(servers.servers)
    restarts = sum(each.restarts for each in supervisors)
    how = f"{count} pauses of {', '.join(map(str, _SECONDS))} s; servers were restarted {restarts} times"
    return [lost_row("paused_lost", load, how), offline.row(how)]


@contextmanager
def supervised(servers: Cluster) -> Iterator[list[Supervisor]]:
    """Restart servers that break, until the context ends."""
    with ExitStack() as stack:
        yield [stack.enter_context(Supervisor(each, _ignore, _MAX_RESTARTS)) for each in servers.servers]


def _ignore(line: str) -> None:
    del line  # the row states the number of restarts


def processes_of(servers: Cluster, scope: str, number: int) -> list[psutil.Process]:
    """The processes to pause: of one model, of one server with its models, or of all servers."""
    draw = np.random.default_rng(_SEED + number)
    if scope == "all":
        return [process for server in servers.servers for process in _tree(server)]
    tree = _tree(servers.servers[number % len(servers.servers)])
    return tree if scope == "server" else [tree[1 + int(draw.integers(len(tree) - 1))]]


def _tree(server: TritonServer) -> list[psutil.Process]:
    root = psutil.Process(server.pid)
    return [root, *root.children()]


def pause(processes: Sequence[psutil.Process], seconds: float) -> None:
    """Stop processes for some seconds, as far as they still exist."""
    for each in processes:
        with suppress(psutil.NoSuchProcess):
            each.suspend()
    time.sleep(seconds)
    for each in processes:
        with suppress(psutil.NoSuchProcess):  # its supervisor has killed it meanwhile
            each.resume()


def _wait_until_ready(servers: Sequence[TritonServer]) -> None:
    seconds_until(lambda: all(each.ready for each in servers), _READY_S, _POLL_S)


class _OfflineClients:
    """Context manager with one client per codec, which decodes whole utterances in turn.

    Args:
        utterances: by codec.
        urls: of the servers.
    """

    def __init__(self, utterances: Mapping[str, UtteranceSet], urls: Sequence[str]):
        self._utterances, self._urls = utterances, urls
        self._result, self._stop = LoadResult(), Event()
        self._pool = ThreadPoolExecutor(len(utterances))

    def __enter__(self) -> "_OfflineClients":
        for name in self._utterances:
            self._pool.submit(self._decode, name)
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._stop.set()
        self._pool.shutdown()

    def row(self, how: str) -> Row:
        """A row for the samples that were missing or wrong."""
        result = self._result
        how += f"; {result.streams} whole inputs decoded, the worst {result.worst_db:.1f} dB from right; "
        how += failures_of(result, "requests")
        ok = not (result.lost or result.errors)
        return Row("all", "paused_wrong", result.lost, "samples", "0", ok, how)

    def _decode(self, name: str) -> None:
        own = self._utterances[name]
        with Codec(name, self._urls, resume=_RESUME) as codec:
            for number in itertools.cycle(range(len(own.utterances))):
                if self._stop.wait(_POLL_S):
                    return
                self._decode_one(codec, own, number)

    def _decode_one(self, codec: Codec, own: UtteranceSet, number: int) -> None:
        error, audio = None, np.zeros(0, np.float32)
        try:
            audio = codec.decode(own.utterances[number].tokens)
        except TritoneError as failure:
            error = f"{type(failure).__name__}: {failure}"
        self._result.add(own.compared(number, audio), error, f"utterance {number} of {codec.name}")
