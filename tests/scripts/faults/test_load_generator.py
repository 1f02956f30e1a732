"""The load generator counts what streams lose: nothing on our servers, and everything that is lost."""

from pathlib import Path

import numpy as np
import pytest
from helpers.servers.raw import comes_true
from rich.console import Console

from scripts.faults.__main__ import fault_rows
from scripts.faults.cluster import cluster
from scripts.faults.flaky_proxy import FlakyProxy
from scripts.faults.load_generator import (
    LoadGenerator,
    LoadResult,
    Utterance,
    UtteranceSet,
    bystanders_row,
    utterances_of,
)
from tritone_client import Codec, Resume, ServerUnavailableError
from tritone_server.launcher import TritonServer
from tritone_server.stream_check import Limit

NAMES = ["small_nanocodec", "small_mimi"]


def test_killed_reset_and_paused_servers_lose_no_sample(repository: Path) -> None:
    """Each fault is injected once or a few times here, and dozens of times by ``make faults``."""
    counts = {"kill": 1, "reset": 1, "paused": 3, "short": 64}
    found = fault_rows(repository, NAMES, counts, Console(quiet=True))
    rows = {row.check: row for kind in found for row in kind}
    assert list(rows) == ["kill_lost", "reset_lost", "paused_lost", "paused_wrong", "short_lost"]
    for row in rows.values():
        assert row.ok, row


def test_lost_wrong_and_failed_streams_are_distinguished() -> None:
    whole, other = np.random.default_rng(0).standard_normal((2, 100)).astype(np.float32)
    both = [Utterance(np.zeros((1, 10), np.int64), each) for each in (whole, other)]
    utterances, result = UtteranceSet(both, 10, Limit(110, 100)), LoadResult()
    foreign = np.concatenate([whole[:40], other[40:50], whole[50:]])
    result.add(utterances.compared(0, whole))
    result.add(utterances.compared(0, whole[:90]))
    result.add(utterances.compared(0, foreign), stream="in place 2")
    result.add(utterances.compared(0, whole[:50]), "gone")
    assert (result.streams, result.expected, result.delivered) == (4, 400, 340)
    assert (result.wrong, result.errors) == (200, ["gone"])
    assert result.first_wrong is not None
    assert "frame 9 is the first wrong one: missing" in result.first_wrong
    assert "it is frame 4 of utterance 1" in str(utterances.compared(0, foreign))
    assert result.first_wrong in bystanders_row("any", result).how


def test_concurrent_streams_send_different_utterances(server: TritonServer) -> None:
    utterances = utterances_of(NAMES[0], server.url)
    assert len({each.tokens.tobytes() for each in utterances.utterances}) == len(utterances.utterances) >= 8
    load = LoadGenerator({NAMES[0]: utterances}, [server.url], 2, Resume())
    with load:
        assert comes_true(lambda: load.result.streams >= 2)
    assert not load.result.lost, load.result.first_wrong


def test_streams_that_cannot_be_resumed_are_counted_as_errors(repository: Path) -> None:
    with cluster(repository, NAMES[:1], 1) as servers:
        utterances = {NAMES[0]: utterances_of(NAMES[0], servers.urls[0])}
        with LoadGenerator(utterances, servers.urls, 2, Resume(deadline_s=0.5)) as load:
            assert comes_true(lambda: load.result.streams >= 2)
            servers.kill(0)
            assert comes_true(lambda: len(load.result.errors) >= 2)
    assert load.result.delivered < load.result.expected


def test_the_proxy_resets_and_stalls(server: TritonServer) -> None:
    frame = np.ones((4, 1), np.int64)
    with FlakyProxy(server.url) as proxy:
        with Codec(NAMES[0], proxy.url, timeout_s=10) as codec:
            stream = codec.decode_stream()
            stream.push(frame)
            assert proxy.reset() >= 2
            with pytest.raises(ServerUnavailableError):
                stream.push(frame)
        with Codec(NAMES[0], proxy.url, timeout_s=10) as codec:
            stream = codec.decode_stream()
            stream.push(frame)
            proxy.stall()
            with pytest.raises(ServerUnavailableError):
                stream.push(frame)
            proxy.flow()
