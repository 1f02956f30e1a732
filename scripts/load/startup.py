"""Time to the first audio: of a server that starts, and of a stream opened on a running server."""

import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from scripts.common.realtime_streams import ScheduledUtterance, run_streams
from scripts.common.report import Row
from scripts.common.speech_inputs import repeated
from tritone_client import Codec
from tritone_server.launcher import TritonServer, serving

__all__ = ["cold_start_row", "first_audio_rows"]

_OPENINGS, _QUICK_OPENINGS = 30, 10
_FRAMES, _APART_S, _SETTLED_S = 3, 0.3, 1.0


def cold_start_row(repository: Path, codec: str) -> Row:
    """Seconds from starting the server to the first audio of a stream; files are in the page cache."""
    started = time.monotonic()
    with serving(repository, [codec]) as server:
        ready_s = time.monotonic() - started
        with Codec(codec, server.url) as client, client.decode_stream() as stream:
            stream.push(np.zeros((client.info.num_codebooks, 1), np.int64))
            value = time.monotonic() - started
    how = f"of the server with all models of one codec; ready after {ready_s:.1f} s"
    return Row(codec, "cold_start", value, "s", "none", True, how)


def first_audio_rows(
    codec: Codec, server: TritonServer, tokens: NDArray[np.int64], live: Sequence[int], quick: bool = False
) -> list[Row]:
    """Milliseconds from opening a stream to its first audio; one row per number of streams already live."""
    openings = _QUICK_OPENINGS if quick else _OPENINGS
    return [_first_audio_row(codec, server, tokens, count, openings) for count in live]


def _first_audio_row(
    codec: Codec, server: TritonServer, tokens: NDArray[np.int64], live: int, count: int
) -> Row:
    rate_hz = codec.info.frame_rate_hz
    frames = round((_SETTLED_S + count * _APART_S) * rate_hz)
    utterance = repeated(tokens, frames)
    background = [ScheduledUtterance(utterance, n / rate_hz / live) for n in range(live)]
    openings = [ScheduledUtterance(tokens[:, :_FRAMES], _SETTLED_S + n * _APART_S) for n in range(count)]
    results = run_streams(codec.name, server.url, [*openings, *background])[:count]
    first = [each.first_ms for each in results if each.latencies_ms] or [float("inf")]
    p50, p99 = (float(np.percentile(first, percent)) for percent in (50, 99))
    ok = all(each.latencies_ms for each in results)
    how = f"{count} streams, opened while {live} are live; p99 {p99:.1f} ms"
    return Row(codec.name, "first_audio", p50, "ms", "none", ok, how, min(first), p99, live)
