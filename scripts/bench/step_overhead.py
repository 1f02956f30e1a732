"""Overhead of client and server around the backend's steps, for streams that push without pause."""

import asyncio
import time

import numpy as np
from numpy.typing import NDArray

from scripts.bench.sessions import has_streams
from scripts.bench.steps import Sound
from scripts.bench.timing import REPEATS, spread_of
from scripts.common.report import Row
from scripts.common.stream_metrics import fresh_page, mean_batch, parse_seconds, parse_steps
from tritone_client import Codec
from tritone_client.aio import AsyncCodec, AsyncStream
from tritone_server.launcher import TritonServer

__all__ = ["step_overhead_rows"]

_STREAMS, _ROUNDS, _QUICK_ROUNDS, _WARM = (1, 8), 8, 2, 4
"""Numbers of streams, and frames of each stream per repeat and before the first one."""
_REPEAT_S, _FEWEST_ROUNDS = 1.5, 2
"""Time for the rounds of a repeat, if that is enough for the fewest."""
_LIMITS = {("mimi", 8): 0.10}
"""Largest share of the time that Triton and the client may take, by codec and number of streams."""


def step_overhead_rows(codec: Codec, server: TritonServer, sound: Sound, quick: bool = False) -> list[Row]:
    """The share of the time in which no step runs, while streams push as fast as they are answered."""
    if not has_streams(codec.name, "decode_stream"):
        return []
    return [_row(codec.name, server, sound, count, quick) for count in _STREAMS]


def _row(codec: str, server: TritonServer, sound: Sound, streams: int, quick: bool) -> Row:
    model = f"{codec}_decode_stream"
    shares, round_ms, batches = [], [], []
    with asyncio.Runner() as runner:
        generator = _LoadGenerator(codec, server.url, sound, streams)
        runner.run(generator.open())
        began = time.perf_counter()
        runner.run(generator.push(_WARM))
        fitting = int(_REPEAT_S * _WARM / (time.perf_counter() - began))
        rounds = max(min(fitting, _QUICK_ROUNDS if quick else _ROUNDS), _FEWEST_ROUNDS)
        after = fresh_page(server.metrics_url)
        for _ in range(REPEATS):
            before, started = after, time.perf_counter()
            runner.run(generator.push(rounds))
            taken = time.perf_counter() - started
            after = fresh_page(server.metrics_url)
            shares.append(1 - (parse_seconds(after, model) - parse_seconds(before, model)) / taken)
            round_ms.append(1000 * taken / rounds)
            batches.append(mean_batch(parse_steps(before, model), parse_steps(after, model)) or 0.0)
        runner.run(generator.close())
    share, limit = spread_of(shares), _LIMITS.get((codec, streams))
    target, ok = ("none", True) if limit is None else (f"<= {limit:g}", share.high <= limit)
    how = f"streams: {streams}; {spread_of(round_ms).median:.1f} ms for a frame of each stream, "
    how += f"{spread_of(batches).median:.1f} streams per step"
    check = f"outside_the_step_batch{streams}"
    return Row(codec, check, share.median, "share", target, ok, how, share.low, share.high)


class _LoadGenerator:
    """Concurrent streams in one event loop, each with frames of its own."""

    def __init__(self, codec: str, url: str, sound: Sound, streams: int):
        self._client, self._count = AsyncCodec(codec, url), streams
        self._frames = sound.frames("decode", streams)
        self._streams: list[AsyncStream[np.float32]] = []

    async def open(self) -> None:
        """Open the client; each stream opens with its first frame."""
        await self._client.__aenter__()
        self._streams = [self._client.decode_stream() for _ in range(self._count)]

    async def push(self, rounds: int) -> None:
        """Push ``rounds`` frames on every stream; no stream waits for another."""
        frames = np.stack([next(self._frames) for _ in range(rounds)], axis=1)
        await asyncio.gather(
            *(self._push_one(stream, row) for stream, row in zip(self._streams, frames, strict=True))
        )

    async def _push_one(self, stream: AsyncStream[np.float32], frames: NDArray[np.generic]) -> None:
        for frame in frames:
            await stream.push(frame)

    async def close(self) -> None:
        """Close the streams and the client."""
        await asyncio.gather(*(stream.close() for stream in self._streams))
        await self._client.close()
