"""Live streams that run while faults are injected, and are then compared sample by sample."""

import asyncio
import itertools
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import inf
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from scripts.common.realtime_streams import run_stream
from scripts.common.report import Row
from scripts.common.rounding import limit_of
from scripts.common.speech_inputs import reordered, repeated, tokens_of
from scripts.common.stream_metrics import live_streams, page
from scripts.common.waiting import seconds_until
from tritone_client import Codec, Resume, Resumption
from tritone_client.aio import AsyncCodec
from tritone_server.launcher import TritonServer
from tritone_server.stream_check import Comparison, Limit, compared

__all__ = [
    "LoadGenerator",
    "LoadResult",
    "Utterance",
    "UtteranceSet",
    "bystanders_row",
    "failures_of",
    "lost_row",
    "seconds_until_idle",
    "utterances_of",
]

_FRAMES = 120
_UTTERANCES = 16
"""Different utterances of a codec."""


@dataclass(frozen=True)
class Utterance:
    """Tokens [K, T] and their offline decode, audio [S] or [C, S]."""

    tokens: NDArray[np.int64]
    whole: NDArray[np.float32]


@dataclass(frozen=True)
class UtteranceSet:
    """What the streams of a codec send, and how near each stream must come to its offline decode.

    No two utterances have the same audio, so a frame that reaches the wrong stream is recognized.
    """

    utterances: Sequence[Utterance]
    samples_per_frame: int
    limit: Limit

    @property
    def tokens(self) -> NDArray[np.int64]:
        """Tokens [K, T] of the first utterance."""
        return self.utterances[0].tokens

    @property
    def whole(self) -> NDArray[np.float32]:
        """Audio of the first utterance."""
        return self.utterances[0].whole

    def compared(
        self, number: int, audio: NDArray[np.float32], failovers: Sequence[Resumption] = ()
    ) -> Comparison:
        """Compare a stream with the offline decode of its utterance.

        Args:
            number: of the utterance.
            audio: what the stream delivered; where it differs, it is looked up in all other utterances.
            failovers: of the stream, to be named in the result.
        """
        others = {f"utterance {n}": each.whole for n, each in enumerate(self.utterances) if n != number}
        return compared(
            self.utterances[number].whole, audio, self.samples_per_frame, self.limit, others, failovers
        )


@dataclass
class LoadResult:
    """Totals over all streams of a load.

    Attributes:
        streams: that have ended.
        expected: samples that they should have delivered.
        delivered: samples that they delivered.
        wrong: samples of streams whose audio differs from the offline decode.
        worst_db: distance of the stream that differs most.
        resumed: failovers, whether they succeeded or not.
        errors: one for each stream that failed.
        first_wrong: description of the first stream that differs.
    """

    streams: int = 0
    expected: int = 0
    delivered: int = 0
    wrong: int = 0
    worst_db: float = inf
    resumed: int = 0
    errors: list[str] = field(default_factory=list)
    first_wrong: str | None = None

    @property
    def lost(self) -> int:
        """Samples that a listener missed, heard twice, or heard wrong."""
        return self.expected - self.delivered + self.wrong

    def add(self, comparison: Comparison, error: str | None = None, stream: str = "a stream") -> None:
        """Count a stream that has ended, with the error that ended it, if any."""
        self.streams += 1
        self.expected += comparison.expected
        self.delivered += comparison.delivered
        if error is not None:
            self.errors.append(error)
            return
        self.worst_db = min(self.worst_db, comparison.db)
        if not comparison.ok:
            self.wrong += comparison.expected
            self.first_wrong = self.first_wrong or f"{stream}: {comparison}"


def utterances_of(codec: str, url: str) -> UtteranceSet:
    """Utterances made from the first frames of the speech sample, each with its slices in another order.

    The limit is measured on the first utterance; for speech, the order changes it by less than 1 dB.

    Raises:
        PrepareError: the codec's checkpoint, which the limit needs, is not on this machine.
    """
    with Codec(codec, url) as client:
        tokens = repeated(tokens_of(client), _FRAMES)
        variants = [reordered(tokens, seed) for seed in range(_UTTERANCES)]
        utterances = [Utterance(*pair) for pair in zip(variants, client.decode(variants), strict=True)]
        return UtteranceSet(utterances, client.info.samples_per_frame, limit_of(client, tokens))


class LoadGenerator:
    """Keeps a number of real-time streams live until the context ends; a new stream follows each that ends.

    Concurrent streams of a codec send different utterances, as long as there are enough of them.

    Args:
        utterances: by codec.
        urls: of the servers.
        places: streams at the same time; the codecs take turns.
        resume: how the client fails over.
        result: totals to add to; by default new ones.
    """

    def __init__(
        self,
        utterances: Mapping[str, UtteranceSet],
        urls: Sequence[str],
        places: int,
        resume: Resume,
        result: LoadResult | None = None,
    ):
        self._utterances, self._urls, self._places, self._resume = utterances, urls, places, resume
        self.result, self.resumptions = result or LoadResult(), list[Resumption]()
        self._order = {
            name: itertools.cycle(range(len(each.utterances))) for name, each in utterances.items()
        }
        self._live: set[tuple[str, int]] = set()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), daemon=True)

    def __enter__(self) -> "LoadGenerator":
        self._thread.start()
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        """Start no further streams, and wait until the live ones end."""
        self._stop.set()
        self._thread.join()

    async def _run(self) -> None:
        names = list(itertools.islice(itertools.cycle(self._utterances), self._places))
        async with asyncio.TaskGroup() as group:
            for place, name in enumerate(names):
                group.create_task(self._run_place(name, place))

    async def _run_place(self, name: str, place: int) -> None:
        failovers = _Failovers(self)
        resume = replace(self._resume, on_resume=failovers.add)
        async with AsyncCodec(name, self._urls, resume=resume) as codec:
            await asyncio.sleep(place / self._places)
            while not self._stop.is_set():
                await self._run_one(codec, place, failovers)

    async def _run_one(self, codec: AsyncCodec, place: int, failovers: "_Failovers") -> None:
        own, number = self._utterances[codec.name], self._next_utterance(codec.name)
        self._live.add((codec.name, number))
        failovers.of_stream.clear()
        result = await run_stream(codec, own.utterances[number].tokens, keep=True)
        self._live.discard((codec.name, number))
        comparison = own.compared(number, result.sound, failovers.of_stream)
        self.result.add(comparison, result.failure, f"{codec.name} in place {place}, utterance {number}")

    def _next_utterance(self, name: str) -> int:
        """The number of an utterance that no live stream sends, if there is one."""
        for _ in range(_UTTERANCES):
            number = next(self._order[name])
            if (name, number) not in self._live:
                break
        return number


class _Failovers:
    """The failovers of the stream in one place; each is also added to the generator's totals."""

    def __init__(self, generator: LoadGenerator):
        self._generator, self.of_stream = generator, list[Resumption]()

    def add(self, resumption: Resumption) -> None:
        self.of_stream.append(resumption)
        self._generator.resumptions.append(resumption)
        self._generator.result.resumed += 1


def lost_row(check: str, load: LoadGenerator, how: str) -> Row:
    """A row for the samples that listeners lost or heard wrong, with the time that failovers took."""
    result, taken = load.result, [each.seconds for each in load.resumptions]
    p50, p95 = np.percentile(taken, [50, 95]) if taken else (0.0, 0.0)
    how += f"; {result.streams} streams, {result.expected} samples expected, {result.delivered} delivered; "
    how += f"the worst {result.worst_db:.1f} dB from its whole; "
    how += f"{len(taken)} resumptions, p50 {p50:.2f}, p95 {p95:.2f} s; {failures_of(result, 'streams')}"
    ok = not (result.lost or result.errors)
    return Row("all", check, result.lost, "samples", "0", ok, how, at=float(p95))


def bystanders_row(check: str, result: LoadResult) -> Row:
    """A row for well-behaved streams that ran beside an attack; none may lose anything or fail over."""
    how = f"{result.streams} good streams beside it, {result.expected} samples; {result.resumed} resumed, "
    ok = result.streams > 0 and not (result.lost or result.errors or result.resumed)
    return Row("all", check, result.lost, "samples", "0", ok, how + failures_of(result, "streams"))


def failures_of(result: LoadResult, unit: str) -> str:
    """How many ``unit`` failed, with the first error and the first wrong result, if any."""
    failed = f"{len(result.errors)} {unit} failed" + (f": {result.errors[0]}" if result.errors else "")
    return failed + (f"; {result.first_wrong}" if result.first_wrong else "")


def seconds_until_idle(server: TritonServer, limit_s: float) -> float:
    """Seconds until the server has no live stream or has ended; ``limit_s`` or more if neither happens."""
    return seconds_until(lambda: not (server.running and live_streams(page(server.metrics_url))), limit_s)
