"""The fault table counts what is lost: nothing with real servers, and everything where it is."""

import time
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from fault_cluster import cluster
from fault_streams import Checked, Crowd, spoken_by
from faults import measured
from flaky_proxy import FlakyProxy
from tritone_client import Codec, Resume, ServerUnavailableError
from tritonserver import TritonServer

NAMES = ["small_nanocodec", "small_mimi"]


def test_real_servers_may_die_and_connections_break_without_a_lost_sample(repository: Path) -> None:
    counts = {"kill": 3, "reset": 2, "for_good": 1}
    found = measured(repository, NAMES, counts, Console(quiet=True))
    rows = {row.check: row for kind in found for row in kind}
    assert list(rows) == ["kill_lost", "reset_lost", "for_good_errors"]
    for row in rows.values():
        assert row.ok, row
    assert " 0 resumptions" not in rows["kill_lost"].how


def test_lost_wrong_and_failed_streams_are_told_apart() -> None:
    whole = np.ones(100, np.float32)
    checked = Checked()
    checked.add(whole, whole, None)
    checked.add(whole, whole[:90], None)
    checked.add(whole, 1.01 * whole, None)
    checked.add(whole, whole[:50], "gone")
    assert (checked.streams, checked.expected, checked.delivered) == (4, 400, 340)
    assert (checked.wrong, checked.errors) == (200, ["gone"])


def test_streams_that_cannot_be_resumed_show_in_the_count(repository: Path) -> None:
    with cluster(repository, NAMES[:1], 1) as servers:
        spoken = {NAMES[0]: spoken_by(NAMES[0], servers.urls[0])}
        with Crowd(spoken, servers.urls, 2, Resume(deadline_s=0.5)) as crowd:
            time.sleep(0.5)
            servers.kill(0)
            time.sleep(2)
    assert crowd.checked.errors
    assert crowd.checked.delivered < crowd.checked.expected


def test_the_proxy_resets_and_stalls(server: TritonServer) -> None:
    frame = np.ones((4, 1), np.int64)
    with FlakyProxy(server.url) as proxy:
        with Codec(NAMES[0], proxy.url, timeout_s=1) as codec:
            stream = codec.decode_stream()
            stream.push(frame)
            assert proxy.reset() >= 2
            with pytest.raises(ServerUnavailableError):
                stream.push(frame)
        with Codec(NAMES[0], proxy.url, timeout_s=1) as codec:
            stream = codec.decode_stream()
            stream.push(frame)
            proxy.stall()
            with pytest.raises(ServerUnavailableError):
                stream.push(frame)
            proxy.flow()
