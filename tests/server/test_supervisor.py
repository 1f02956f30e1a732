"""A server is replaced when it, or the process of a model, ends or is stopped; nothing stays behind."""

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest
from helpers.servers.processes import ended, process_of
from helpers.servers.raw import comes_true

from tritone_client import Codec
from tritone_server.launcher import Ports, ServerError, TritonServer
from tritone_server.log_watch import STATE_LEFT_GPU
from tritone_server.stale import end_orphans
from tritone_server.supervisor import MOST_RESTARTS, Supervisor

NAME = "small_nanocodec"


@pytest.fixture
def server(repository: Path) -> Iterator[TritonServer]:
    with TritonServer(repository, [NAME], ports=Ports.free()) as running:
        yield running


def model_killed(server: TritonServer) -> None:
    process_of(server, f"{NAME}_vocoder").kill()


def model_stopped(server: TritonServer) -> None:
    process_of(server, f"{NAME}_decode_stream").suspend()


def server_killed(server: TritonServer) -> None:
    os.kill(server.pid, signal.SIGKILL)


def server_stopped(server: TritonServer) -> None:
    os.killpg(server.pid, signal.SIGSTOP)


def test_state_that_leaves_the_gpu_is_told(server: TritonServer) -> None:
    lines: list[str] = []
    with Supervisor(server, lines.append):
        with server.log.open("a") as log:
            log.write("W0101 12:00:00.000000 1 memory.cc:212] CUDA pool: no room, " + STATE_LEFT_GPU + "\n")
        assert comes_true(lambda: bool(lines))
    assert "memory pool on the GPU is full" in lines[0]
    assert "--max-streams" in lines[0]


@pytest.mark.parametrize("fault", [model_killed, model_stopped, server_killed, server_stopped])
def test_a_broken_server_is_replaced_and_works(
    fault: Callable[[TritonServer], None], server: TritonServer
) -> None:
    lines: list[str] = []
    before = [psutil.Process(server.pid), *psutil.Process(server.pid).children()]
    with Supervisor(server, lines.append) as supervisor:
        fault(server)
        assert comes_true(lambda: supervisor.restarts == 1), lines
        assert comes_true(lambda: all(map(ended, before)))
        with Codec(NAME, server.url) as codec, codec.decode_stream() as stream:
            frames = np.ones((4, 3), np.int64)
            assert len(stream.push(frames)) == len(codec.decode(frames))
    assert len(lines) == 2
    assert "so the server is restarted" in lines[0]
    assert server.previous_log.exists()


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_short_stop_is_no_fault_and_a_long_one_is(server: TritonServer) -> None:
    clock = Clock()
    supervisor = Supervisor(server, clock=clock)
    model_stopped(server)
    process = process_of(server, f"{NAME}_decode_stream")
    assert comes_true(lambda: process.status() == psutil.STATUS_STOPPED)
    for clock.now in (0.0, 0.9):
        assert supervisor.fault() is None
    process.resume()
    assert comes_true(lambda: process.status() != psutil.STATUS_STOPPED)
    clock.now = 5.0
    assert supervisor.fault() is None
    process.suspend()
    assert comes_true(lambda: process.status() == psutil.STATUS_STOPPED)
    assert supervisor.fault() is None
    clock.now = 6.1
    assert supervisor.fault() == "a process of the server has been stopped for 1 s"


def test_a_server_that_may_not_be_restarted_is_stopped(server: TritonServer) -> None:
    model_killed(server)
    with pytest.raises(ServerError, match="the process of a model ended, so the server was stopped"):
        Supervisor(server, most_restarts=0).run()
    assert not server.running


def test_a_server_that_breaks_again_and_again_is_stopped(
    server: TritonServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines: list[str] = []
    supervisor = Supervisor(server, lines.append, clock=Clock())
    server.kill()  # and no start helps
    monkeypatch.setattr(TritonServer, "start", lambda self: self)
    with pytest.raises(ServerError, match=f"it was restarted {MOST_RESTARTS} times within 300 s"):
        supervisor.run()
    assert supervisor.restarts == MOST_RESTARTS


def test_a_server_that_was_told_to_stop_is_left_alone(server: TritonServer) -> None:
    os.kill(server.pid, signal.SIGTERM)
    assert comes_true(lambda: not server.running)
    assert Supervisor(server).run() == 0


def test_models_whose_server_has_gone_are_ended(server: TritonServer) -> None:
    """Those of a server that crashed end by themselves, unless they are stopped."""
    models = psutil.Process(server.pid).children()
    for each in models:
        each.suspend()
    os.kill(server.pid, signal.SIGKILL)
    assert comes_true(lambda: not server.running)
    assert not any(map(ended, models))
    assert end_orphans() >= len(models)
    assert comes_true(lambda: all(map(ended, models)))
