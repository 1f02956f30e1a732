"""Listeners: live streams at real-time pace through our client, which count what a listener would hear."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tritone_client import ServerFullError, TritoneError
from tritone_client.aio import AsyncCodec

__all__ = ["StreamResult", "Utterance", "percentile", "run_stream", "run_streams"]

Tokens = NDArray[np.int64]
_LATE_ALLOWED = 0.01
_RESERVE_FRAMES = 1
"""That a listener's player keeps before it begins."""


@dataclass(frozen=True)
class Utterance:
    """Tokens [K, T] that a stream says, and when it begins, in seconds from the start of all."""

    tokens: Tokens
    begins_s: float = 0.0


@dataclass
class StreamResult:
    """How a stream fared.

    ``misses`` are answers that came after the next frame was due, ``underruns`` the times that a player
    with one frame in reserve ran dry; ``refused_ms`` is how long a full server took to say so, ``error``
    what else went wrong.
    """

    latencies_ms: list[float] = field(default_factory=list)
    misses: int = 0
    underruns: int = 0
    refused_ms: float | None = None
    error: str | None = None
    audio: list[NDArray[np.float32]] = field(default_factory=list)

    @property
    def told(self) -> str:
        """In words."""
        if self.refused_ms is not None:
            return f"refused within {self.refused_ms:.0f} ms"
        failed = f", then failed: {self.error}" if self.error else ""
        frames = len(self.latencies_ms)
        return f"{self.misses} of {frames} frames late, {self.underruns} underruns{failed}"

    @property
    def in_time(self) -> bool:
        """Whether it was served, and at most one frame in a hundred came too late."""
        return self.failure is None and self.misses <= _LATE_ALLOWED * len(self.latencies_ms)

    @property
    def failure(self) -> str | None:
        """Why it was not served to its end, if it was not."""
        return self.error or (None if self.refused_ms is None else "refused")

    @property
    def sound(self) -> NDArray[np.float32]:
        """All that was kept."""
        return np.concatenate([np.zeros(0, np.float32), *self.audio])

    @property
    def first_ms(self) -> float:
        """From opening the stream to its first sound."""
        return self.latencies_ms[0]


def run_streams(
    codec: str, url: str, utterances: Sequence[Utterance], keep: bool = False
) -> list[StreamResult]:
    """Speak them all at real-time pace, each as a stream of its own; ``keep`` their sound."""

    async def speak() -> list[StreamResult]:
        async with AsyncCodec(codec, url) as client:
            begun = time.perf_counter()
            return list(await asyncio.gather(*(_one(client, each, begun, keep) for each in utterances)))

    return asyncio.run(speak())


def percentile(heard: Sequence[StreamResult], percent: float) -> float:
    """Of the latencies of all their frames, in ms; infinite where there are none."""
    latencies = [each for one in heard for each in one.latencies_ms]
    return float(np.percentile(latencies, percent)) if latencies else float("inf")


async def _one(client: AsyncCodec, utterance: Utterance, begun: float, keep: bool) -> StreamResult:
    await asyncio.sleep(max(0.0, begun + utterance.begins_s - time.perf_counter()))
    return await run_stream(client, utterance.tokens, keep)


async def run_stream(client: AsyncCodec, tokens: Tokens, keep: bool = False) -> StreamResult:
    """Speak tokens [K, T] at real-time pace, as one stream; no error of a server is raised."""
    heard, opened = StreamResult(), time.perf_counter()
    try:
        async with client.decode_stream() as stream:
            await _spoken(stream, tokens, 1 / client.info.frame_rate_hz, heard, keep)
    except ServerFullError:
        heard.refused_ms = 1000 * (time.perf_counter() - opened)
    except TritoneError as error:
        heard.error = f"{type(error).__name__}: {error}"
    return heard


async def _spoken(stream: Any, tokens: Tokens, period_s: float, heard: StreamResult, keep: bool) -> None:
    begun, plays_at = time.perf_counter(), float("inf")
    for number in range(tokens.shape[1]):
        due = begun + number * period_s
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        sent = time.perf_counter()
        audio = await stream.push(tokens[:, number : number + 1])
        now = time.perf_counter()
        heard.latencies_ms.append(1000 * (now - sent))
        heard.misses += now > due + period_s
        if number == 0:
            plays_at = now + _RESERVE_FRAMES * period_s
        elif now > plays_at:
            heard.underruns += 1
            plays_at = now
        plays_at += period_s  # when the next one is needed
        if keep:
            heard.audio.append(audio)
