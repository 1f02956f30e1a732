"""More streams than a server takes: accepted streams stay in time, the rest are refused at once."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from scripts.common.realtime_streams import ScheduledUtterance, StreamResult, run_streams, summary_of
from scripts.common.report import Row
from scripts.common.speech_inputs import repeated, tokens_of
from tritone_client import Codec
from tritone_server.launcher import serving

__all__ = ["overload_rows"]

_MAX_LATE_SHARE, _MAX_REFUSAL_MS = 0.01, 100.0
_LATER_S, _SPREAD_S = 3.0, 2.0


def overload_rows(
    repository: Path, codec: str, places: int, seconds: float, extra: int | None = None
) -> list[Row]:
    """Fill a server with live streams, then open more.

    Args:
        repository: of the models.
        codec: name of the codec.
        places: the most streams that the server is started to take; all are taken at first.
        seconds: how long each stream lasts.
        extra: streams that are opened when all places are taken; by default as many as places.
    """
    extra = extra or places
    with serving(repository, [codec], max_streams=places) as server, Codec(codec, server.url) as client:
        period_s, tokens = 1 / client.info.frame_rate_hz, tokens_of(client)
        utterance = repeated(tokens, round(seconds / period_s))
        # Like calls of different people, the streams have their frames due at different times.
        first = [ScheduledUtterance(utterance, n * period_s / places) for n in range(places)]
        later = [ScheduledUtterance(utterance, _LATER_S + n * _SPREAD_S / extra) for n in range(extra)]
        results = run_streams(codec, server.url, [*first, *later])
    return _rows(codec, results[:places], results[places:])


def _rows(codec: str, live: Sequence[StreamResult], extra: Sequence[StreamResult]) -> list[Row]:
    total = summary_of(live)
    refusals = [each.refused_ms for each in extra if each.refused_ms is not None]
    slowest = max(refusals, default=float("inf"))
    how = f"{len(live)} live, {len(extra)} more ask"
    p99 = f"p99 {total.p99_ms:.1f} ms, {total.underruns} underruns"
    return [
        Row(
            codec,
            "overload_misses",
            total.late_share,
            "share",
            f"<= {_MAX_LATE_SHARE}",
            total.late_share <= _MAX_LATE_SHARE and not total.failures,
            f"{how}; {p99}; {len(total.failures)} live ones failed",
        ),
        Row(
            codec,
            "overload_refused",
            len(refusals),
            "streams",
            f"{len(extra)}",
            len(refusals) == len(extra),
            f"{how}; with ServerFullError",
        ),
        Row(
            codec,
            "overload_refusal",
            slowest,
            "ms",
            f"<= {_MAX_REFUSAL_MS:g}",
            slowest <= _MAX_REFUSAL_MS,
            f"{how}; the slowest, median {np.median(refusals) if refusals else float('inf'):.0f} ms",
        ),
    ]
