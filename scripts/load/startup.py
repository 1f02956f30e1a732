"""How soon: a server that starts, and a stream that is opened on one that runs."""

import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from scripts.common.realtime_streams import Utterance, run_streams
from scripts.common.report import Row
from scripts.common.speech_inputs import repeated
from tritone_client import Codec
from tritone_server.launcher import TritonServer, serving

__all__ = ["cold_start_row", "first_audio_rows"]

_OPENINGS, _QUICK_OPENINGS = 30, 10
_FRAMES, _APART_S, _SETTLED_S = 3, 0.3, 1.0


def cold_start_row(repository: Path, codec: str) -> Row:
    """From starting the process to the first sound of a stream; files are in the page cache."""
    begun = time.monotonic()
    with serving(repository, [codec]) as server:
        ready_s = time.monotonic() - begun
        with Codec(codec, server.url) as client, client.decode_stream() as stream:
            stream.push(np.zeros((client.info.num_codebooks, 1), np.int64))
            value = time.monotonic() - begun
    how = f"of the server with all models of one codec; ready after {ready_s:.1f} s"
    return Row(codec, "cold_start", value, "s", "none", True, how)


def first_audio_rows(
    codec: Codec, server: TritonServer, tokens: NDArray[np.int64], live: Sequence[int], quick: bool = False
) -> list[Row]:
    """From opening a stream to its first sound, while so many others are live."""
    openings = _QUICK_OPENINGS if quick else _OPENINGS
    return [_first_audio_row(codec, server, tokens, count, openings) for count in live]


def _first_audio_row(
    codec: Codec, server: TritonServer, tokens: NDArray[np.int64], live: int, count: int
) -> Row:
    rate_hz = codec.info.frame_rate_hz
    frames = round((_SETTLED_S + count * _APART_S) * rate_hz)
    spoken = repeated(tokens, frames)
    background = [Utterance(spoken, n / rate_hz / live) for n in range(live)]
    openings = [Utterance(tokens[:, :_FRAMES], _SETTLED_S + n * _APART_S) for n in range(count)]
    heard = run_streams(codec.name, server.url, [*openings, *background])[:count]
    first = [each.first_ms for each in heard if each.latencies_ms] or [float("inf")]
    p50, p99 = (float(np.percentile(first, percent)) for percent in (50, 99))
    ok = all(each.latencies_ms for each in heard)
    how = f"{count} streams, opened while {live} are live; p99 {p99:.1f} ms"
    return Row(codec.name, "first_audio", p50, "ms", "none", ok, how, min(first), p99, live)
