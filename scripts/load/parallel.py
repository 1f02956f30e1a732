"""Streams in parallel in a closed loop, in the terms of NVIDIA's ``riva_tts_perf_client``.

Its tables (docs.nvidia.com, "TTS performance" of Riva and of the Speech NIM) have a line per number of
parallel streams, each of which sends a request, waits for all audio and sends the next. They give the latency
to the first chunk, the latency between successive chunks (average and percentiles), and the throughput in
seconds of audio per second. A chunk here is what one frame of tokens gives.
"""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from scripts.common.report import Row
from scripts.load.arrivals import Speech, lengths
from scripts.load.generator import ClosedLoad, Played, Utterance, generator
from scripts.load.targets import Target
from scripts.load.timelines import Heard, percentile

__all__ = ["between_ms", "first_ms", "parallel_row", "parallel_rows", "utterances_of"]

_UTTERANCES, _SEED = 200, 0
_PERCENTS = (50, 90, 95, 99)


def parallel_rows(
    codec: str, target: Target, speech: Speech, streams: Sequence[int], seconds: float
) -> list[Row]:
    """A row for each number of streams.

    Raises:
        GeneratorError: the load generator's process ended.
        TritoneError: the target could not be reached.
    """
    utterances, rows = utterances_of(speech), []
    with generator() as running:
        for count in streams:
            load = ClosedLoad(target, speech.tokens, speech.timing, utterances, count, seconds)
            rows.append(parallel_row(codec, load, running.played(load)))
    return rows


def utterances_of(speech: Speech) -> list[Utterance]:
    """Utterances of drawn lengths, the same in every run."""
    draw = np.random.default_rng(_SEED)
    shortest, longest = lengths(speech.timing.period_s)
    frames = draw.integers(shortest, longest + 1, _UTTERANCES)
    firsts = draw.integers(speech.tokens.shape[1], size=_UTTERANCES)
    pairs = zip(firsts.tolist(), frames.tolist(), strict=True)
    return [Utterance(0.0, first, count) for first, count in pairs]


def first_ms(heard: Sequence[Heard]) -> list[float]:
    """From the request to the first chunk, for each utterance that got one."""
    return [1000 * each.pieces[0][0] for each in heard if each.pieces]


def between_ms(heard: Sequence[Heard]) -> list[float]:
    """Between successive chunks of an utterance."""
    times = ([at for at, _ in each.pieces] for each in heard)
    return [1000 * (later - earlier) for each in times for earlier, later in pairwise(each)]


def parallel_row(codec: str, load: ClosedLoad, played: Played) -> Row:
    """Throughput, with the latencies as figures in ms; it falls short if an utterance failed."""
    failures = [each.error for each in played.heard if each.error]
    figures = {"utterances": float(len(played.heard)), "failed": float(len(failures))}
    for name, values in (("first", first_ms(played.heard)), ("between", between_ms(played.heard))):
        figures[f"{name} avg"] = float(np.mean(values)) if values else float("inf")
        figures |= {f"{name} p{percent}": percentile(values, percent) for percent in _PERCENTS}
    how = f"streams: {load.streams}, for {load.seconds:g} s; first chunk {figures['first p50']:.1f}, p99 "
    how += f"{figures['first p99']:.1f} ms; between chunks {figures['between p50']:.1f}, p99 "
    how += f"{figures['between p99']:.1f} ms; {len(failures)} failed" + (
        f": {failures[0]}" if failures else ""
    )
    return Row(
        codec,
        f"parallel_{load.target.name}",
        played.audio_s / load.seconds,
        "s of sound/s",
        "none",
        not failures,
        how,
        at=load.streams,
        figures=figures,
    )
