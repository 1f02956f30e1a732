"""A server under steady load for minutes: its memory, deadlines, and every stream against the whole."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scripts.common.memory import MemoryMonitor
from scripts.common.realtime_streams import StreamResult, Utterance, percentile, run_streams
from scripts.common.report import Row
from scripts.common.rounding import limit_of
from scripts.common.speech_inputs import reordered
from tritone_client import Codec
from tritone_server.launcher import TritonServer
from tritone_server.stream_check import Comparison, compared

__all__ = ["Soak", "soak_of", "soak_rows"]

_SAMPLED_S = 5.0
_SETTLED_S = 120.0
"""Memory may grow for so long: arenas fill, forms of requests are seen for the first time."""
_WINDOW_S = 60.0
_MOST_GROWTH, _MOST_MISSES = 1.0, 0.01
_LENGTHS = (1.0, 0.6, 0.8)
"""Of utterances, in lengths of the sample: streams do not end together."""


@dataclass(frozen=True)
class Soak:
    """What was heard, each ended stream against its whole, and memory [(s, MB)]."""

    streams: int
    seconds: float
    heard: Sequence[StreamResult]
    comparisons: Sequence[Comparison]
    memory: Sequence[tuple[float, float]]


def soak_of(
    codec: Codec, server: TritonServer, tokens: NDArray[np.int64], streams: int, seconds: float
) -> Soak:
    """Keep so many streams live for so long; one that ends is followed by another."""
    period_s = 1 / codec.info.frame_rate_hz
    utterances = _schedule(tokens, streams, seconds, period_s)
    pieces = {_key(each): (name, each) for name, each in _pieces(tokens, streams)}
    sounds = dict(zip(pieces, codec.decode([each for _, each in pieces.values()]), strict=True))
    limit, hop = limit_of(codec, tokens), codec.info.samples_per_frame
    with MemoryMonitor(server.pid, _SAMPLED_S) as watch:
        heard = run_streams(codec.name, server.url, utterances, keep=True)
    comparisons = []
    for each, one in zip(utterances, heard, strict=True):
        own = _key(each.tokens)
        others = {name: sounds[key] for key, (name, _) in pieces.items() if key != own}
        comparisons.append(compared(sounds[own], one.sound, hop, limit, others))
    return Soak(streams, seconds, heard, comparisons, watch.seen)


def _key(tokens: NDArray[np.int64]) -> bytes:
    return np.ascontiguousarray(tokens).tobytes()


def _pieces(tokens: NDArray[np.int64], streams: int) -> Iterator[tuple[str, NDArray[np.int64]]]:
    """What each line of streams says, in turns, by a name for each: no two lines say the same."""
    for line in range(streams):
        for share in _LENGTHS:
            frames = max(1, round(share * tokens.shape[1]))
            yield f"line {line} of {frames} frames", reordered(tokens, line)[:, :frames]


def _schedule(tokens: NDArray[np.int64], streams: int, seconds: float, period_s: float) -> list[Utterance]:
    """One line of utterances after another, per stream; the lines begin a little apart."""
    pieces = [each for _, each in _pieces(tokens, streams)]
    utterances = []
    for line in range(streams):
        at, turn = line * period_s / streams, line
        while at < seconds:
            piece = pieces[line * len(_LENGTHS) + turn % len(_LENGTHS)]
            utterances.append(Utterance(piece, at))
            at, turn = at + (piece.shape[1] + 2) * period_s, turn + 1
    return sorted(utterances, key=lambda each: each.begins_s)


def soak_rows(codec: str, soak: Soak) -> list[Row]:
    """Memory after it has settled, deadlines, and the worst stream."""
    frames = sum(len(each.latencies_ms) for each in soak.heard)
    misses = sum(each.misses for each in soak.heard) / max(1, frames)
    dry = sum(each.underruns for each in soak.heard)
    failed = [each.failure for each in soak.heard if each.failure]
    how = f"{soak.streams} live streams for {soak.seconds:.0f} s, {len(soak.heard)} in all"
    p99 = f"p99 {percentile(soak.heard, 99):.1f} ms, {dry} underruns, {frames} frames"
    failures = f"; first: {failed[0]}" if failed else ""
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
            f"< {_MOST_GROWTH:g}" if judged else "none",
            not judged or (growth or 0.0) < _MOST_GROWTH,
            f"{how}; {_told(soak.memory)}" + ("" if judged else "; too short to judge"),
        ),
        Row(
            codec,
            "soak_misses",
            misses,
            "share",
            f"<= {_MOST_MISSES}",
            misses <= _MOST_MISSES,
            f"{how}; {p99}",
        ),
        Row(codec, "soak_failed", len(failed), "streams", "0", not failed, how + failures),
        Row(
            codec,
            "soak_worst_stream",
            worst,
            "dB",
            f">= {least:.1f}",
            not wrong,
            f"{how}, each against the whole{wrong}",
        ),
    ]


def _growth(memory: Sequence[tuple[float, float]]) -> float | None:
    """Percent between the first and last minute after settling; None where there are no two."""
    settled = [(at, size) for at, size in memory if at >= _SETTLED_S]
    if not settled or settled[-1][0] - settled[0][0] < 2 * _WINDOW_S:
        return None
    first = [size for at, size in settled if at < settled[0][0] + _WINDOW_S]
    last = [size for at, size in settled if at > settled[-1][0] - _WINDOW_S]
    return float(100 * (np.median(last) / np.median(first) - 1))


def _told(memory: Sequence[tuple[float, float]]) -> str:
    return f"{memory[0][1]:.0f} MB at first, {memory[-1][1]:.0f} at the end" if memory else "not seen"
