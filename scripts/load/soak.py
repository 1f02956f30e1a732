"""A server under steady load for minutes: memory, deadlines, and every stream against its offline decode."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scripts.common.memory import MemoryMonitor
from scripts.common.realtime_streams import ScheduledUtterance, StreamResult, run_streams, summary_of
from scripts.common.report import Row
from scripts.common.rounding import limit_of
from scripts.common.speech_inputs import reordered
from tritone_client import Codec
from tritone_server.launcher import TritonServer
from tritone_server.stream_check import Comparison, compared

__all__ = ["Soak", "soak_of", "soak_rows"]

_SAMPLE_INTERVAL_S = 5.0
_SETTLED_S = 120.0
"""How long memory may grow, while allocators fill their arenas and shapes occur for the first time."""
_WINDOW_S = 60.0
_MAX_GROWTH_PERCENT, _MAX_LATE_SHARE = 1.0, 0.01
_LENGTHS = (1.0, 0.6, 0.8)
"""Lengths of the utterances, relative to the speech sample, so that streams do not end together."""


@dataclass(frozen=True)
class Soak:
    """Result of each stream, its comparison with the offline decode, and memory as [(s, MB)]."""

    streams: int
    seconds: float
    results: Sequence[StreamResult]
    comparisons: Sequence[Comparison]
    memory: Sequence[tuple[float, float]]


def soak_of(
    codec: Codec, server: TritonServer, tokens: NDArray[np.int64], streams: int, seconds: float
) -> Soak:
    """Keep ``streams`` streams live for ``seconds``; when one ends, the next one starts.

    Args:
        codec: client of the server.
        server: whose memory is sampled.
        tokens: [K, T] from which all utterances are cut.
        streams: at the same time.
        seconds: until no further stream starts.
    """
    period_s = 1 / codec.info.frame_rate_hz
    utterances = _schedule(tokens, streams, seconds, period_s)
    pieces = {_key(each): (name, each) for name, each in _pieces(tokens, streams)}
    sounds = dict(zip(pieces, codec.decode([each for _, each in pieces.values()]), strict=True))
    limit, hop = limit_of(codec, tokens), codec.info.samples_per_frame
    with MemoryMonitor(server.pid, _SAMPLE_INTERVAL_S) as memory:
        results = run_streams(codec.name, server.url, utterances, keep=True)
    comparisons = []
    for each, result in zip(utterances, results, strict=True):
        own = _key(each.tokens)
        others = {name: sounds[key] for key, (name, _) in pieces.items() if key != own}
        comparisons.append(compared(sounds[own], result.sound, hop, limit, others))
    return Soak(streams, seconds, results, comparisons, memory.samples)


def _key(tokens: NDArray[np.int64]) -> bytes:
    return np.ascontiguousarray(tokens).tobytes()


def _pieces(tokens: NDArray[np.int64], streams: int) -> Iterator[tuple[str, NDArray[np.int64]]]:
    """The utterances of each line of successive streams, with a name; no two lines have the same."""
    for line in range(streams):
        for share in _LENGTHS:
            frames = max(1, round(share * tokens.shape[1]))
            yield f"line {line} of {frames} frames", reordered(tokens, line)[:, :frames]


def _schedule(
    tokens: NDArray[np.int64], streams: int, seconds: float, period_s: float
) -> list[ScheduledUtterance]:
    """One line of successive utterances per concurrent stream; the lines start a little apart."""
    pieces = [each for _, each in _pieces(tokens, streams)]
    utterances = []
    for line in range(streams):
        at, turn = line * period_s / streams, line
        while at < seconds:
            piece = pieces[line * len(_LENGTHS) + turn % len(_LENGTHS)]
            utterances.append(ScheduledUtterance(piece, at))
            at, turn = at + (piece.shape[1] + 2) * period_s, turn + 1
    return sorted(utterances, key=lambda each: each.start_s)


def soak_rows(codec: str, soak: Soak) -> list[Row]:
    """Rows for memory growth after the settling time, late frames, failed streams and the worst stream."""
    total = summary_of(soak.results)
    how = f"{soak.streams} live streams for {soak.seconds:.0f} s, {len(soak.results)} in all"
    p99 = f"p99 {total.p99_ms:.1f} ms, {total.underruns} underruns, {total.frames} frames"
    failures = f"; first: {total.failures[0]}" if total.failures else ""
    growth, worst = _growth(soak.memory), min(each.db for each in soak.comparisons)
    least = soak.comparisons[0].limit.whole_db
    wrong = next((f"; {each}" for each in soak.comparisons if not each.ok), "")
    judged = growth is not None
    return [
        Row(
            codec,
            "soak_memory_growth",
            growth or 0.0,
            "%",
            f"< {_MAX_GROWTH_PERCENT:g}" if judged else "none",
            not judged or (growth or 0.0) < _MAX_GROWTH_PERCENT,
            f"{how}; {_formatted(soak.memory)}" + ("" if judged else "; too short to judge"),
        ),
        Row(
            codec,
            "soak_misses",
            total.late_share,
            "share",
            f"<= {_MAX_LATE_SHARE}",
            total.late_share <= _MAX_LATE_SHARE,
            f"{how}; {p99}",
        ),
        Row(codec, "soak_failed", len(total.failures), "streams", "0", not total.failures, how + failures),
        Row(
            codec,
            "soak_worst_stream",
            worst,
            "dB",
            f">= {least:.1f}",
            not wrong,
            f"{how}, each against its offline decode{wrong}",
        ),
    ]


def _growth(memory: Sequence[tuple[float, float]]) -> float | None:
    """Growth in percent from the first to the last minute after settling; None if the test was shorter."""
    settled = [(at, size) for at, size in memory if at >= _SETTLED_S]
    if not settled or settled[-1][0] - settled[0][0] < 2 * _WINDOW_S:
        return None
    first = [size for at, size in settled if at < settled[0][0] + _WINDOW_S]
    last = [size for at, size in settled if at > settled[-1][0] - _WINDOW_S]
    return float(100 * (np.median(last) / np.median(first) - 1))


def _formatted(memory: Sequence[tuple[float, float]]) -> str:
    return f"{memory[0][1]:.0f} MB at first, {memory[-1][1]:.0f} at the end" if memory else "not sampled"
