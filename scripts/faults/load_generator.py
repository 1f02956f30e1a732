"""Live streams that are checked sample by sample while faults are injected."""

import asyncio
import itertools
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import inf
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from scripts.common.realtime_streams import run_stream
from scripts.common.report import Row
from scripts.common.rounding import limit_of
from scripts.common.speech_inputs import reordered, repeated, tokens_of
from scripts.common.stream_metrics import live_streams, page
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
    "lost_row",
    "seconds_until_idle",
    "utterances_of",
]

_FRAMES = 120
_UTTERANCES = 16
"""Different ones of a codec."""


@dataclass(frozen=True)
class Utterance:
    """Tokens [K, T] and the sound [S] that they are as a whole."""

    tokens: NDArray[np.int64]
    whole: NDArray[np.float32]


@dataclass(frozen=True)
class UtteranceSet:
    """What streams of a codec say, and how near each must come to its whole.

    No two utterances are alike, so a frame tells whose it is.
    """

    utterances: Sequence[Utterance]
    samples_per_frame: int
    limit: Limit

    @property
    def tokens(self) -> NDArray[np.int64]:
        """Of the first utterance, [K, T]."""
        return self.utterances[0].tokens

    @property
    def whole(self) -> NDArray[np.float32]:
        """Sound of the first utterance, [S]."""
        return self.utterances[0].whole

    def compared(
        self, number: int, heard: NDArray[np.float32], failovers: Sequence[Resumption] = ()
    ) -> Comparison:
        """A stream of one utterance against its whole, and where it differs against all others."""
        others = {f"utterance {n}": each.whole for n, each in enumerate(self.utterances) if n != number}
        return compared(
            self.utterances[number].whole, heard, self.samples_per_frame, self.limit, others, failovers
        )


@dataclass
class LoadResult:
    """What all streams together were given; ``wrong`` counts the samples of streams that differ.

    ``worst_db`` is how near the one that differs most comes to its whole, ``first_wrong`` says what is wrong
    with the first that does. ``resumed`` is how often one of them lost its server, whatever came of it.
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
        """Samples that a listener lost, heard twice, or heard wrong."""
        return self.expected - self.delivered + self.wrong

    def add(self, comparison: Comparison, error: str | None = None, stream: str = "a stream") -> None:
        """One stream that has ended."""
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
    """The beginning of the repository's sample, over and over where it is short, in several orders.

    The limit is measured on the first; on speech, the order changes it by less than 1 dB.

    Raises:
        PrepareError: the codec's checkpoint, which the limit needs, is not here.
    """
    with Codec(codec, url) as client:
        tokens = repeated(tokens_of(client), _FRAMES)
        variants = [reordered(tokens, seed) for seed in range(_UTTERANCES)]
        utterances = [Utterance(*pair) for pair in zip(variants, client.decode(variants), strict=True)]
        return UtteranceSet(utterances, client.info.samples_per_frame, limit_of(client, tokens))


class LoadGenerator:
    """So many streams at real-time pace, one after another in each place, until it is left.

    No two of them say the same at the same time, unless there are more than utterances of a codec.

    Args:
        spoken: what each codec says.
        urls: of the servers.
        places: streams at the same time; codecs take turns.
        resume: how they outlive a server.
        checked: where to go on counting, if not from nothing.
    """

    def __init__(
        self,
        spoken: Mapping[str, UtteranceSet],
        urls: Sequence[str],
        places: int,
        resume: Resume,
        checked: LoadResult | None = None,
    ):
        self._spoken, self._urls, self._places, self._resume = spoken, urls, places, resume
        self.checked, self.resumptions = checked or LoadResult(), list[Resumption]()
        self._turns = {name: itertools.cycle(range(len(each.utterances))) for name, each in spoken.items()}
        self._live: set[tuple[str, int]] = set()
        self._ends = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._speak()), daemon=True)

    def __enter__(self) -> "LoadGenerator":
        self._thread.start()
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        """No new streams; those that live end by themselves."""
        self._ends.set()
        self._thread.join()

    async def _speak(self) -> None:
        names = list(itertools.islice(itertools.cycle(self._spoken), self._places))
        async with asyncio.TaskGroup() as group:
            for place, name in enumerate(names):
                group.create_task(self._place(name, place))

    async def _place(self, name: str, place: int) -> None:
        failovers = _Failovers(self)
        resume = Resume(**(vars(self._resume) | {"told": failovers.told}))
        async with AsyncCodec(name, self._urls, resume=resume) as codec:
            await asyncio.sleep(place / self._places)
            while not self._ends.is_set():
                await self._stream(codec, place, failovers)

    async def _stream(self, codec: AsyncCodec, place: int, failovers: "_Failovers") -> None:
        spoken, number = self._spoken[codec.name], self._next_utterance(codec.name)
        self._live.add((codec.name, number))
        failovers.of_stream.clear()
        heard = await run_stream(codec, spoken.utterances[number].tokens, keep=True)
        self._live.discard((codec.name, number))
        comparison = spoken.compared(number, heard.sound, failovers.of_stream)
        self.checked.add(comparison, heard.failure, f"{codec.name} in place {place}, utterance {number}")

    def _next_utterance(self, name: str) -> int:
        """The number of one that no live stream says."""
        for _ in range(_UTTERANCES):
            number = next(self._turns[name])
            if (name, number) not in self._live:
                break
        return number


class _Failovers:
    """Of the stream that lives in a place; a crowd counts them all."""

    def __init__(self, crowd: LoadGenerator):
        self._crowd, self.of_stream = crowd, list[Resumption]()

    def told(self, resumption: Resumption) -> None:
        self.of_stream.append(resumption)
        self._crowd.resumptions.append(resumption)
        self._crowd.checked.resumed += 1


def lost_row(check: str, crowd: LoadGenerator, how: str) -> Row:
    """What the listeners of a crowd lost or heard wrong, and how long streams took to go on."""
    checked, taken = crowd.checked, [each.seconds for each in crowd.resumptions]
    p50, p95 = np.percentile(taken, [50, 95]) if taken else (0.0, 0.0)
    how += (
        f"; {checked.streams} streams, {checked.expected} samples expected, {checked.delivered} delivered; "
    )
    how += f"the worst {checked.worst_db:.1f} dB from its whole; "
    how += f"{len(taken)} resumptions, p50 {p50:.2f}, p95 {p95:.2f} s; {_failures(checked)}"
    return Row(
        "all", check, checked.lost, "samples", "0", not (checked.lost or checked.errors), how, at=float(p95)
    )


def bystanders_row(check: str, checked: LoadResult) -> Row:
    """Of good streams that went on beside an attack."""
    how = f"{checked.streams} good streams beside it, {checked.expected} samples; {checked.resumed} resumed, "
    ok = checked.streams > 0 and not (checked.lost or checked.errors or checked.resumed)
    return Row("all", check, checked.lost, "samples", "0", ok, how + _failures(checked))


def _failures(checked: LoadResult) -> str:
    failed = f"{len(checked.errors)} streams failed" + (f": {checked.errors[0]}" if checked.errors else "")
    return failed + (f"; {checked.first_wrong}" if checked.first_wrong else "")


def seconds_until_idle(server: TritonServer, within_s: float) -> float:
    """Until no stream is live, or the server has ended; the limit and more where some stay."""
    begun = time.monotonic()
    while server.running and live_streams(page(server.metrics_url)) and time.monotonic() - begun < within_s:
        time.sleep(0.1)
    return time.monotonic() - begun
