"""The fault table counts what is lost: nothing with real servers, and everything where it is."""

from pathlib import Path

import numpy as np
import pytest
from helpers.raw import comes_true
from rich.console import Console

from scripts.faults.__main__ import measured
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


def test_real_servers_may_die_break_off_and_pause_without_a_lost_sample(repository: Path) -> None:
    """Once each; by the dozen in 'make faults'."""
    counts = {"kill": 1, "reset": 1, "paused": 3}
    found = measured(repository, NAMES, counts, Console(quiet=True))
    rows = {row.check: row for kind in found for row in kind}
    assert list(rows) == ["kill_lost", "reset_lost", "paused_lost", "paused_wrong"]
    for row in rows.values():
        assert row.ok, row


def test_lost_wrong_and_failed_streams_are_told_apart() -> None:
    whole, other = np.random.default_rng(0).standard_normal((2, 100)).astype(np.float32)
    utterances = [Utterance(np.zeros((1, 10), np.int64), each) for each in (whole, other)]
    spoken, checked = UtteranceSet(utterances, 10, Limit(110, 100)), LoadResult()
    foreign = np.concatenate([whole[:40], other[40:50], whole[50:]])
    checked.add(spoken.compared(0, whole))
    checked.add(spoken.compared(0, whole[:90]))
    checked.add(spoken.compared(0, foreign), stream="in place 2")
    checked.add(spoken.compared(0, whole[:50]), "gone")
    assert (checked.streams, checked.expected, checked.delivered) == (4, 400, 340)
    assert (checked.wrong, checked.errors) == (200, ["gone"])
    assert checked.first_wrong is not None
    assert "frame 9 is the first wrong one: missing" in checked.first_wrong
    assert "it is frame 4 of utterance 1" in str(spoken.compared(0, foreign))
    assert checked.first_wrong in bystanders_row("any", checked).how


def test_streams_at_the_same_time_say_different_things(server: TritonServer) -> None:
    spoken = utterances_of(NAMES[0], server.url)
    assert len({each.tokens.tobytes() for each in spoken.utterances}) == len(spoken.utterances) >= 8
    crowd = LoadGenerator({NAMES[0]: spoken}, [server.url], 2, Resume())
    with crowd:
        assert comes_true(lambda: crowd.checked.streams >= 2)
    assert not crowd.checked.lost, crowd.checked.first_wrong


def test_streams_that_cannot_be_resumed_show_in_the_count(repository: Path) -> None:
    with cluster(repository, NAMES[:1], 1) as servers:
        spoken = {NAMES[0]: utterances_of(NAMES[0], servers.urls[0])}
        with LoadGenerator(spoken, servers.urls, 2, Resume(deadline_s=0.5)) as crowd:
            assert comes_true(lambda: crowd.checked.streams >= 2)
            servers.kill(0)
            assert comes_true(lambda: len(crowd.checked.errors) >= 2)
    assert crowd.checked.delivered < crowd.checked.expected


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
