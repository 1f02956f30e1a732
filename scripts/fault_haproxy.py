"""The proxy in front of the servers is restarted under live streams."""

import time
from collections.abc import Mapping

import numpy as np

from fault_streams import Crowd, Spoken
from haproxy import Haproxy, installed
from report import Row
from tritone_client import Resume
from tritonserver import TritonServer

__all__ = ["haproxy_rows"]

_PLACES, _SETTLE_S, _DOWN_S = 8, 2.0, 0.5


def haproxy_rows(server: TritonServer, spoken: Mapping[str, Spoken], count: int) -> list[Row]:
    """Killed, away for half a second, and started again, ``count`` times; nothing where there is none."""
    if not installed():
        return []
    with Haproxy([server] * 3) as proxy, Crowd(spoken, [proxy.url], _PLACES, Resume(deadline_s=60)) as crowd:
        for _ in range(count):
            time.sleep(_SETTLE_S)
            proxy.stop()
            time.sleep(_DOWN_S)
            proxy.start()
        time.sleep(_SETTLE_S)
    checked, taken = crowd.checked, [each.seconds for each in crowd.resumptions]
    p50, p95 = np.percentile(taken, [50, 95]) if taken else (0.0, 0.0)
    lost = checked.expected - checked.delivered + checked.wrong
    how = f"{count} times, {checked.streams} streams, {checked.expected} samples expected, "
    how += f"{checked.delivered} delivered; {len(taken)} resumptions, p50 {p50:.2f}, p95 {p95:.2f} s"
    return [
        Row("all", "haproxy_lost", lost, "samples", "0", not (lost or checked.errors), how, at=float(p95))
    ]
