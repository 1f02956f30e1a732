"""Restart HAProxy, in front of a server, under live streams."""

import time
from collections.abc import Mapping

from scripts.common.haproxy import Haproxy, installed
from scripts.common.report import Row
from scripts.faults.load_generator import LoadGenerator, UtteranceSet, lost_row
from tritone_client import Resume
from tritone_server.launcher import TritonServer

__all__ = ["haproxy_rows"]

_PLACES, _SETTLE_S, _DOWN_S = 8, 2.0, 0.5


def haproxy_rows(server: TritonServer, utterances: Mapping[str, UtteranceSet], count: int) -> list[Row]:
    """Kill HAProxy and start it half a second later, ``count`` times; no rows if it is not installed."""
    if not installed():
        return []
    with (
        Haproxy([server] * 3) as proxy,
        LoadGenerator(utterances, [proxy.url], _PLACES, Resume(deadline_s=60)) as load,
    ):
        for _ in range(count):
            time.sleep(_SETTLE_S)
            proxy.stop()
            time.sleep(_DOWN_S)
            proxy.start()
        time.sleep(_SETTLE_S)
    return [lost_row("haproxy_lost", load, f"{count} times")]
