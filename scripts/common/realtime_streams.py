"""Live streams at real-time pace through our client, each counting what a listener would notice.

A frame is sent when it is due, as a language model would emit it. Late answers and the gaps that a player
would have are counted per stream.
"""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tritone_client import ServerFullError, TritoneError
from tritone_client.aio import AsyncCodec

__all__ = [
    "ScheduledUtterance",
    "StreamResult",
    "Summary",
    "run_stream",
    "run_streams",
    "summary_of",
]

Tokens = NDArray[np.int64]
_LATE_ALLOWED = 0.01
_RESERVE_FRAMES = 1
"""Frames that the simulated player buffers before it starts."""


@dataclass(frozen=True)
class ScheduledUtterance:
    """Tokens [K, T] of one stream, and when it starts, in seconds after the first possible start."""

    tokens: Tokens
    start_s: float = 0.0


@dataclass
class StreamResult:
    """What one stream experienced.

    Attributes:
        latencies_ms: from sending each frame to its answer.
        late_frames: answers that came after the next frame was due.
        underruns: how often a player with one frame in reserve ran out of audio.
        refused_ms: time until a full server refused the stream; None if it was accepted.
        error: any other error that ended the stream.
        audio: the answers, if they are kept.
    """

    latencies_ms: list[float] = field(default_factory=list)
    late_frames: int = 0
    underruns: int = 0
    refused_ms: float | None = None
    error: str | None = None
    audio: list[NDArray[np.float32]] = field(default_factory=list)

    @property
    def formatted(self) -> str:
        """One line for a table."""
        if self.refused_ms is not None:
            return f"refused within {self.refused_ms:.0f} ms"
        failed = f", then failed: {self.error}" if self.error else ""
        frames = len(self.latencies_ms)
        return f"{self.late_frames} of {frames} frames late, {self.underruns} underruns{failed}"

    @property
    def in_time(self) -> bool:
        """Whether the stream ran to its end with at most one late frame in a hundred."""
        return self.failure is None and self.late_frames <= _LATE_ALLOWED * len(self.latencies_ms)

    @property
    def failure(self) -> str | None:
        """Why the stream did not run to its end; None if it did."""
        return self.error or (None if self.refused_ms is None else "refused")

    @property
    def sound(self) -> NDArray[np.float32]:
        """The kept answers, joined: [S] or [C, S]."""
        return np.concatenate(self.audio, axis=-1) if self.audio else np.zeros(0, np.float32)

    @property
    def first_ms(self) -> float:
        """Time from opening the stream to its first audio."""
        return self.latencies_ms[0]


@dataclass(frozen=True)
class Summary:
    """Totals over several streams; ``p99_ms`` is infinite if there was no answer."""

    frames: int
    late_share: float
    underruns: int
    p99_ms: float
    failures: Sequence[str]


def summary_of(results: Sequence[StreamResult]) -> Summary:
    """The totals of these streams."""
    latencies = [each for result in results for each in result.latencies_ms]
    return Summary(
        frames=len(latencies),
        late_share=sum(result.late_frames for result in results) / max(1, len(latencies)),
        underruns=sum(result.underruns for result in results),
        p99_ms=float(np.percentile(latencies, 99)) if latencies else float("inf"),
        failures=[result.failure for result in results if result.failure],
    )


def run_streams(
    codec: str,
    url: str | Path,
    utterances: Sequence[ScheduledUtterance],
    keep: bool = False,
    frames: int = 1,
) -> list[StreamResult]:
    """Run one stream per utterance at real-time pace, all in one event loop.

    Args:
        codec: name of the codec.
        url: gRPC address of the server, or the folder of a repository whose models run in this process.
        utterances: what the streams send, and when.
        keep: keep the audio in the results.
        frames: number of frames in each request.
    """

    async def run() -> list[StreamResult]:
        async with AsyncCodec(codec, url) as client:
            started = time.perf_counter()
            streams = (_run_scheduled(client, each, started, keep, frames) for each in utterances)
            return list(await asyncio.gather(*streams))

    return asyncio.run(run())


async def _run_scheduled(
    client: AsyncCodec, utterance: ScheduledUtterance, started: float, keep: bool, frames: int
) -> StreamResult:
    await asyncio.sleep(max(0.0, started + utterance.start_s - time.perf_counter()))
    return await run_stream(client, utterance.tokens, keep, frames)


async def run_stream(client: AsyncCodec, tokens: Tokens, keep: bool = False, frames: int = 1) -> StreamResult:
    """Send tokens [K, T] as one stream at real-time pace; the server's errors are recorded, not raised.

    A request is sent when the last of its ``frames`` is due.
    """
    result, opened = StreamResult(), time.perf_counter()
    try:
        async with client.decode_stream() as stream:
            pieces = np.split(tokens, range(frames, tokens.shape[1], frames), axis=1)
            await _push_pieces(stream, pieces, frames / client.info.frame_rate_hz, result, keep)
    except ServerFullError:
        result.refused_ms = 1000 * (time.perf_counter() - opened)
    except TritoneError as error:
        result.error = f"{type(error).__name__}: {error}"
    return result


async def _push_pieces(
    stream: Any, pieces: Sequence[Tokens], period_s: float, result: StreamResult, keep: bool
) -> None:
    started, plays_at = time.perf_counter(), float("inf")
    for number, piece in enumerate(pieces):
        due = started + number * period_s
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        sent = time.perf_counter()
        audio = await stream.push(piece)
        now = time.perf_counter()
        result.latencies_ms.append(1000 * (now - sent))
        result.late_frames += now > due + period_s
        if number == 0:
            plays_at = now + _RESERVE_FRAMES * period_s
        elif now > plays_at:
            result.underruns += 1
            plays_at = now
        plays_at += period_s  # when the player needs the next frame
        if keep:
            result.audio.append(audio)
