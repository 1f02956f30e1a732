"""Servers that are silent for a moment: the process of a model, a whole server, or all servers, are stopped.

Triton gives the process of a model up after one second and may then mix answers up (docs/operations.md).
Live streams and whole inputs go on meanwhile. Each says something different, and is compared with its whole.
"""

import itertools
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from threading import Event
from types import TracebackType

import numpy as np
import psutil

from scripts.common.report import Row
from scripts.faults.cluster import Cluster
from scripts.faults.load_generator import LoadGenerator, LoadResult, UtteranceSet, lost_row
from tritone_client import Codec, Resume, TritoneError
from tritone_server.launcher import TritonServer
from tritone_server.supervisor import Supervisor

__all__ = ["pause_rows"]

_SCOPES, _SECONDS = ("model", "server", "all"), (0.5, 1.1, 3.0)
_KINDS = list(itertools.product(_SECONDS, _SCOPES))
_PLACES, _SEED, _MANY = 8, 0, 10_000
_SETTLE_S, _LOOK_S, _READY_S = 2.0, 0.2, 600.0
_RESUME = Resume(deadline_s=600)


def pause_rows(servers: Cluster, spoken: Mapping[str, UtteranceSet], count: int) -> list[Row]:
    """Stop something ``count`` times, for 0.5, 1.1 and 3 s; rows for live streams and for whole inputs."""
    with ExitStack() as stack:
        supervisors = [stack.enter_context(Supervisor(each, _say_nothing, _MANY)) for each in servers.servers]
        crowd = stack.enter_context(LoadGenerator(spoken, servers.urls, _PLACES, _RESUME))
        callers = stack.enter_context(_Callers(spoken, servers.urls))
        time.sleep(_SETTLE_S)
        for number in range(count):
            seconds, scope = _KINDS[number % len(_KINDS)]
            _pause(_processes(servers, scope, number), seconds)
            time.sleep(_SETTLE_S)
            _wait_until_ready(servers.servers)
    restarts = sum(each.restarts for each in supervisors)
    how = f"{count} pauses of {', '.join(map(str, _SECONDS))} s; servers were restarted {restarts} times"
    return [lost_row("paused_lost", crowd, how), callers.row(how)]


def _say_nothing(line: str) -> None:
    del line  # the row tells how often


def _processes(servers: Cluster, scope: str, number: int) -> list[psutil.Process]:
    """Of one model, of one server with its models, or of all servers."""
    draw = np.random.default_rng(_SEED + number)
    if scope == "all":
        return [process for server in servers.servers for process in _tree(server)]
    tree = _tree(servers.servers[number % len(servers.servers)])
    return tree if scope == "server" else [tree[1 + int(draw.integers(len(tree) - 1))]]


def _tree(server: TritonServer) -> list[psutil.Process]:
    root = psutil.Process(server.pid)
    return [root, *root.children()]


def _pause(processes: Sequence[psutil.Process], seconds: float) -> None:
    for each in processes:
        with suppress(psutil.NoSuchProcess):
            each.suspend()
    time.sleep(seconds)
    for each in processes:
        with suppress(psutil.NoSuchProcess):  # its supervisor was quicker
            each.resume()


def _wait_until_ready(servers: Sequence[TritonServer]) -> None:
    until_s = time.monotonic() + _READY_S
    while not all(each.ready for each in servers) and time.monotonic() < until_s:
        time.sleep(_LOOK_S)


class _Callers:
    """One caller for each codec, which decodes whole utterances in turn until it is left; a context manager.

    Args:
        spoken: what each codec says.
        urls: of the servers.
    """

    def __init__(self, spoken: Mapping[str, UtteranceSet], urls: Sequence[str]):
        self._spoken, self._urls = spoken, urls
        self._checked, self._ends = LoadResult(), Event()
        self._pool = ThreadPoolExecutor(len(spoken))

    def __enter__(self) -> "_Callers":
        for name in self._spoken:
            self._pool.submit(self._decode, name)
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._ends.set()
        self._pool.shutdown()

    def row(self, how: str) -> Row:
        """What they were given."""
        found = self._checked
        how += f"; {found.streams} whole inputs decoded, the worst {found.worst_db:.1f} dB from right; "
        how += f"{len(found.errors)} failed" + (f": {found.errors[0]}" if found.errors else "")
        how += f"; {found.first_wrong}" if found.first_wrong else ""
        return Row("all", "paused_wrong", found.lost, "samples", "0", not (found.lost or found.errors), how)

    def _decode(self, name: str) -> None:
        spoken = self._spoken[name]
        with Codec(name, self._urls, resume=_RESUME) as codec:
            for number in itertools.cycle(range(len(spoken.utterances))):
                if self._ends.wait(_LOOK_S):
                    return
                self._decode_one(codec, spoken, number)

    def _decode_one(self, codec: Codec, spoken: UtteranceSet, number: int) -> None:
        error, audio = None, np.zeros(0, np.float32)
        try:
            audio = codec.decode(spoken.utterances[number].tokens)
        except TritoneError as failure:
            error = f"{type(failure).__name__}: {failure}"
        self._checked.add(spoken.compared(number, audio), error, f"utterance {number} of {codec.name}")
