"""Twice as many streams as a server keeps up with: those that live go on, the others are told at once."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from scripts.common.realtime_streams import StreamResult, Utterance, percentile, run_streams
from scripts.common.report import Row
from scripts.common.speech_inputs import repeated, tokens_of
from tritone_client import Codec
from tritone_server.launcher import serving

__all__ = ["overload_rows"]

_MOST_MISSES, _MOST_REFUSAL_MS = 0.01, 100.0
_LATER_S, _SPREAD_S = 3.0, 2.0


def overload_rows(
    repository: Path, codec: str, most: int, seconds: float, more: int | None = None
) -> list[Row]:
    """A server told to take ``most`` streams; when so many live, ``more`` (as many again) ask for one."""
    more = more or most
    with serving(repository, [codec], max_streams=most) as server, Codec(codec, server.url) as client:
        period_s, tokens = 1 / client.info.frame_rate_hz, tokens_of(client)
        spoken = repeated(tokens, round(seconds / period_s))
        # Calls of different people: their frames are due at different times.
        first = [Utterance(spoken, n * period_s / most) for n in range(most)]
        later = [Utterance(spoken, _LATER_S + n * _SPREAD_S / more) for n in range(more)]
        heard = run_streams(codec, server.url, [*first, *later])
    return _rows(codec, heard[:most], heard[most:])


def _rows(codec: str, live: Sequence[StreamResult], more: Sequence[StreamResult]) -> list[Row]:
    frames = sum(len(each.latencies_ms) for each in live)
    misses = sum(each.misses for each in live) / max(1, frames)
    lost = [each.failure for each in live if each.failure]
    refusals = [each.refused_ms for each in more if each.refused_ms is not None]
    slowest = max(refusals, default=float("inf"))
    how = f"{len(live)} live, {len(more)} more ask"
    p99 = f"p99 {percentile(live, 99):.1f} ms, {sum(each.underruns for each in live)} underruns"
    return [
        Row(
            codec,
            "overload_misses",
            misses,
            "share",
            f"<= {_MOST_MISSES}",
            misses <= _MOST_MISSES and not lost,
            f"{how}; {p99}; {len(lost)} live ones failed",
        ),
        Row(
            codec,
            "overload_refused",
            len(refusals),
            "streams",
            f"{len(more)}",
            len(refusals) == len(more),
            f"{how}; with ServerFullError",
        ),
        Row(
            codec,
            "overload_refusal",
            slowest,
            "ms",
            f"<= {_MOST_REFUSAL_MS:g}",
            slowest <= _MOST_REFUSAL_MS,
            f"{how}; the slowest, median {np.median(refusals) if refusals else float('inf'):.0f} ms",
        ),
    ]
