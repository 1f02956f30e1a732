"""A load of busy streams on a server, and what each request costs the server and its clients."""

import multiprocessing
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeAlias

import psutil

from scripts.bench.instances.pass_through import CODEC, MODEL, write_pass_through
from scripts.bench.instances.stream_clients import run_client
from scripts.common.report import Row
from scripts.common.stream_metrics import mean_batch, steps_by_batch
from scripts.common.waiting import seconds_until
from tritone_server.launcher import TritonServer, serving

__all__ = ["instance_rows"]

_REPEATS, _LIMIT_S = 3, 60.0
Processes: TypeAlias = Sequence[psutil.Process]


def instance_rows(instances: int, clients: int, streams: int, seconds: float) -> list[Row]:
    """Requests per second, and the processor time that a request costs.

    Args:
        instances: processes of the model.
        clients: client processes.
        streams: live streams of each client.
        seconds: length of each of three repeats.
    """
    with tempfile.TemporaryDirectory() as scratch:
        repository = write_pass_through(Path(scratch))
        with serving(repository, [CODEC], instances=instances) as server:
            return _Load(server, clients, streams).rows(instances, seconds)


class _Load:
    """Clients that send requests to a server until they are stopped."""

    def __init__(self, server: TritonServer, clients: int, streams: int):
        self._server = server
        context = multiprocessing.get_context("spawn")  # gRPC does not survive a fork
        self._over, self._answers = context.Event(), context.Array("Q", clients, lock=False)
        self._how = f"{clients} clients with {streams} streams each"
        self._clients = [
            context.Process(target=run_client, args=(server.url, streams, n, self._answers, self._over))
            for n in range(clients)
        ]

    def rows(self, instances: int, seconds: float) -> list[Row]:
        for client in self._clients:
            client.start()
        try:
            if seconds_until(lambda: all(self._answers), _LIMIT_S) >= _LIMIT_S:
                raise RuntimeError("a client got no answer")
            return self._measured(instances, seconds)
        finally:
            self._over.set()
            for client in self._clients:
                client.join()

    def _measured(self, instances: int, seconds: float) -> list[Row]:
        sides = self._sides()
        before = steps_by_batch(self._server.metrics_url, MODEL)
        repeats = [self._repeat(sides, seconds) for _ in range(_REPEATS)]
        after = steps_by_batch(self._server.metrics_url, MODEL)
        rates = [rate for rate, _ in repeats]
        how = f"instances: {instances}; {self._how}, {mean_batch(before, after) or 0:.1f} streams per step"
        rows = [_row("requests", "requests/s", rates, how, instances)]
        for side in sides:
            costs = [1e3 * cores[side] / rate for rate, cores in repeats]
            rows.append(_row(f"processor_time_{side}", "ms/request", costs, how, instances))
        return rows

    def _sides(self) -> dict[str, Processes]:
        triton = psutil.Process(self._server.pid)
        models = [each for each in triton.children() if any(f"/{MODEL}/" in word for word in each.cmdline())]
        return {
            "triton": [triton],
            "model": models,
            "clients": [psutil.Process(client.pid) for client in self._clients],
        }

    def _repeat(self, sides: dict[str, Processes], seconds: float) -> tuple[float, dict[str, float]]:
        """Answers per second, and the cores that each side used."""
        began_s, answers, used = time.monotonic(), sum(self._answers), _used_s(sides)
        time.sleep(seconds)
        took_s = time.monotonic() - began_s
        cores = {side: (now - used[side]) / took_s for side, now in _used_s(sides).items()}
        return (sum(self._answers) - answers) / took_s, cores


def _used_s(sides: dict[str, Processes]) -> dict[str, float]:
    return {side: sum(map(_processor_s, processes)) for side, processes in sides.items()}


def _processor_s(process: psutil.Process) -> float:
    times: Any = process.cpu_times()
    return float(times.user + times.system)


def _row(check: str, unit: str, values: Sequence[float], how: str, at: int) -> Row:
    median = statistics.median(values)
    return Row("none", f"instances_{check}", median, unit, "none", True, how, min(values), max(values), at)
