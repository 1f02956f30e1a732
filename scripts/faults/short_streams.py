"""Thousands of short live streams, as fast as the servers answer, while processes of models are paused.

Real-time streams are few and long. These are many and short, so that more of them begin and end in a fault.
"""

import itertools
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager

import numpy as np

from scripts.common.report import Row
from scripts.faults.cluster import Cluster
from scripts.faults.load_generator import LoadResult, Utterance, UtteranceSet, failures_of
from scripts.faults.pauses import MODEL, pause, processes_of, supervised
from tritone_client import Codec, Resume, Resumption, TritoneError

__all__ = ["short_stream_rows"]

_FRAMES, _PAUSE_S, _BETWEEN_S = 8, 1.1, 5.0
_RESUME = Resume(deadline_s=600)


def short_stream_rows(servers: Cluster, utterances: Mapping[str, UtteranceSet], count: int) -> list[Row]:
    """Run ``count`` streams; a row for samples lost or heard wrong."""
    streams = _ShortStreams({name: _shortened(each) for name, each in utterances.items()}, servers)
    with ExitStack() as stack:
        stack.enter_context(supervised(servers))
        pauses = stack.enter_context(_pauses(servers))
        streams.run(count)
    result = streams.result
    how = f"{result.streams} streams of {_FRAMES} frames beside {next(pauses)} pauses of {_PAUSE_S} s; "
    how += f"{result.expected} samples expected, {result.delivered} delivered; the worst "
    how += f"{result.worst_db:.1f} dB from its whole; {result.resumed} resumptions; "
    how += failures_of(result, "streams")
    ok = not (result.lost or result.errors)
    return [Row("all", "short_lost", result.lost, "samples", "0", ok, how)]


def _shortened(own: UtteranceSet) -> UtteranceSet:
    """The first frames of each utterance. A causal codec decodes them alone as within the whole."""
    samples = _FRAMES * own.samples_per_frame
    short = [Utterance(each.tokens[:, :_FRAMES], each.whole[:samples]) for each in own.utterances]
    return UtteranceSet(short, own.samples_per_frame, own.limit)


@contextmanager
def _pauses(servers: Cluster) -> Iterator[Iterator[int]]:
    """Pause one model after the other until the context ends; then the next value is their number."""
    numbers, over = itertools.count(), threading.Event()

    def run() -> None:
        while not over.wait(_BETWEEN_S):
            pause(processes_of(servers, MODEL, next(numbers)), _PAUSE_S)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield numbers
    finally:
        over.set()
        thread.join()


class _ShortStreams:
    """A thread for each utterance of each codec, so that no two streams at a time have the same audio."""

    def __init__(self, utterances: Mapping[str, UtteranceSet], servers: Cluster):
        self._utterances, self._servers = utterances, servers
        self._left, self._lock = itertools.count(), threading.Lock()
        self.result = LoadResult()

    def run(self, count: int) -> None:
        """Run so many streams of all codecs together."""
        places = [(name, at) for name, own in self._utterances.items() for at in range(len(own.utterances))]
        with ThreadPoolExecutor(len(places)) as pool:
            list(pool.map(lambda place: self._run_place(place[0], place[1], count), places))

    def _run_place(self, name: str, number: int, count: int) -> None:
        failovers: list[Resumption] = []
        resume = Resume(_RESUME.deadline_s, on_resume=failovers.append)
        with Codec(name, self._servers.urls, resume=resume) as codec:
            while next(self._left) < count:
                failovers.clear()
                self._run_one(codec, number, failovers)

    def _run_one(self, codec: Codec, number: int, failovers: list[Resumption]) -> None:
        own, error, audio = self._utterances[codec.name], None, np.zeros(0, np.float32)
        try:
            with codec.decode_stream() as stream:
                pieces = [stream.push(frame) for frame in own.utterances[number].tokens.T]
                audio = np.concatenate([*pieces, stream.close()], axis=-1)
        except TritoneError as failure:
            error = f"{type(failure).__name__}: {failure}"
        with self._lock:
            comparison = own.compared(number, audio, failovers)
            self.result.add(comparison, error, f"utterance {number} of {codec.name}")
            self.result.resumed += len(failovers)
