"""A load generator for whole utterances, in a process of its own so that no other work holds up its clock.

Open loop: utterances begin when they are scheduled, whatever the server does. Closed loop: a fixed number of
streams, each of which begins an utterance when its last one has ended.
"""

import asyncio
import gc
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing import get_context

import numpy as np
from numpy.typing import NDArray

from scripts.load.targets import Streams, Target
from scripts.load.timelines import Heard, Timing
from tritone_client import TritoneError

__all__ = [
    "ClosedLoad",
    "Generator",
    "GeneratorError",
    "OpenLoad",
    "Played",
    "Utterance",
    "generator",
    "play",
]

Tokens = NDArray[np.int64]
_LEAD_S = 0.2
_WARM_UP_FRAMES = 3
_PATIENCE_S = 10.0
"""How long after its last frame an utterance may take to come to its end."""


class GeneratorError(RuntimeError):
    """The process of the load generator has ended without a result."""


@dataclass(frozen=True)
class Utterance:
    """Frames of the speech sample that are spoken at a scheduled time.

    Attributes:
        start_s: of its first frame, after the start of the measurement.
        first: the frame of the sample that it begins with; the sample is repeated.
        frames: their number.
        counted: whether it belongs to the measurement; others only make the load.
    """

    start_s: float
    first: int
    frames: int
    counted: bool = True

    def tokens_of(self, sample: Tokens) -> Tokens:
        """Its tokens, [K, frames]."""
        return np.take(sample, range(self.first, self.first + self.frames), axis=1, mode="wrap")


@dataclass(frozen=True)
class OpenLoad:
    """Scheduled utterances, each sent frame by frame at real-time pace; ``tokens`` [K, T] are the sample."""

    target: Target
    tokens: Tokens
    timing: Timing
    utterances: Sequence[Utterance]


@dataclass(frozen=True)
class ClosedLoad:
    """Streams in parallel, each of which says utterance after utterance as fast as it is answered.

    Stream n of N takes every Nth of the ``utterances``, which are repeated; their scheduled times have no
    meaning. It ends after ``seconds``, in the middle of the utterances that are under way then.
    """

    target: Target
    tokens: Tokens
    timing: Timing
    utterances: Sequence[Utterance]
    streams: int
    seconds: float


@dataclass
class Played:
    """What came of a load.

    Attributes:
        heard: the utterances that count, in the order of their schedule, or of their end.
        wakes_ms: how late the generator itself was, each time that it slept until a frame was due.
        audio_s: seconds of audio that came in the time of a closed loop.
    """

    heard: list[Heard] = field(default_factory=list)
    wakes_ms: list[float] = field(default_factory=list)
    audio_s: float = 0.0


class Generator:
    """The load generator's process, for one load after another."""

    def __init__(self, pool: ProcessPoolExecutor):
        self._pool = pool

    def played(self, load: OpenLoad | ClosedLoad) -> Played:
        """Put the load on its target and listen.

        Raises:
            GeneratorError: the process ended.
            TritoneError: the target could not be reached.
        """
        try:
            return self._pool.submit(play, load).result()
        except BrokenProcessPool as error:
            raise GeneratorError(
                f"the load generator's process ended while it was putting load on {load.target.name}; "
                "its messages are on the standard error stream"
            ) from error


@contextmanager
def generator() -> Iterator[Generator]:
    """A load generator; its process ends with the context."""
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        pool.submit(gc.freeze).result()  # a collection over all imported modules would be a pause of its own
        yield Generator(pool)


def play(load: OpenLoad | ClosedLoad) -> Played:
    """As :meth:`Generator.played`, in this process."""
    return asyncio.run(_open_loop(load) if isinstance(load, OpenLoad) else _closed_loop(load))


async def _open_loop(load: OpenLoad) -> Played:
    played, period_s = Played(), load.timing.period_s
    async with load.target.connected() as streams:
        await _warmed_up(streams, load.tokens)
        started = time.perf_counter() + _LEAD_S

        async def speak(utterance: Utterance) -> Heard:
            tokens, due = utterance.tokens_of(load.tokens), started + utterance.start_s
            await _slept_until(due, played.wakes_ms)
            frames = _paced(tokens, due, period_s, played.wakes_ms)
            limit_s = utterance.frames * period_s + _PATIENCE_S
            return await _heard(streams, frames, due, utterance.frames, limit_s)

        tasks = [asyncio.create_task(speak(each)) for each in load.utterances]
        counted = [task for task, each in zip(tasks, load.utterances, strict=True) if each.counted]
        played.heard = list(await asyncio.gather(*counted))
        await _cancelled(tasks)
    return played


async def _closed_loop(load: ClosedLoad) -> Played:
    played = Played()
    async with load.target.connected() as streams:
        await _warmed_up(streams, load.tokens)
        until = time.perf_counter() + load.seconds
        lines = (_speak_in_turn(streams, load, number, until, played) for number in range(load.streams))
        await asyncio.gather(*lines)
    played.audio_s = load.timing.period_s / load.timing.samples_per_frame * _samples(played.heard)
    return played


async def _speak_in_turn(
    streams: Streams, load: ClosedLoad, number: int, until: float, played: Played
) -> None:
    """One of the streams in parallel; it ends when the time is over, or with an error."""
    turn = number
    while (opened := time.perf_counter()) < until:
        utterance = load.utterances[turn % len(load.utterances)]
        frames = _at_once(utterance.tokens_of(load.tokens))
        heard = await _heard(streams, frames, opened, utterance.frames, until - opened)
        if time.perf_counter() >= until:
            heard.error = None
        played.heard.append(heard)
        if heard.error:
            return
        turn += load.streams


def _samples(heard: Sequence[Heard]) -> int:
    return sum(samples for each in heard for _, samples in each.pieces)


async def _warmed_up(streams: Streams, tokens: Tokens) -> None:
    """Send a short utterance, so that the models are loaded and have run once."""
    async for _ in streams.stream(_at_once(tokens[:, :_WARM_UP_FRAMES])):
        pass


async def _at_once(tokens: Tokens) -> AsyncIterator[Tokens]:
    for number in range(tokens.shape[1]):
        yield tokens[:, number : number + 1]


async def _paced(
    tokens: Tokens, started: float, period_s: float, wakes_ms: list[float]
) -> AsyncIterator[Tokens]:
    """The frames of tokens [K, T] when they are due; overdue ones when they are asked for."""
    for number in range(tokens.shape[1]):
        await _slept_until(started + number * period_s, wakes_ms)
        yield tokens[:, number : number + 1]


async def _slept_until(at: float, wakes_ms: list[float]) -> None:
    if (wait_s := at - time.perf_counter()) > 0:
        await asyncio.sleep(wait_s)
        wakes_ms.append(1000 * max(0.0, time.perf_counter() - at))


async def _heard(
    streams: Streams, frames: AsyncIterator[Tokens], scheduled: float, count: int, limit_s: float
) -> Heard:
    """Send ``count`` frames; note errors, and when each piece of audio came, in s after ``scheduled``."""
    heard = Heard(count)
    try:
        async with asyncio.timeout(limit_s):
            async for audio in streams.stream(frames):
                heard.pieces.append((time.perf_counter() - scheduled, audio.shape[-1]))
    except TimeoutError:
        heard.error = f"it had not come to its end after {limit_s:.1f} s"
    except (TritoneError, OSError) as error:
        heard.error = f"{type(error).__name__}: {error}"
    return heard


async def _cancelled(tasks: Sequence[asyncio.Task[Heard]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
