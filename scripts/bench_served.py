"""A step of live streams through client and server, beside the same step in a session without either."""

import asyncio
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from bench_pairs import alternating, spread_of
from bench_sessions import has_streams
from bench_steps import Sound, our_step
from report import Row
from tritone_client import Codec
from tritone_client.aio import AsyncCodec, AsyncStream

__all__ = ["served_step_rows"]

_STREAMS, _ROUNDS, _QUICK_ROUNDS, _WARM = (1, 8), 50, 15, 10
_MOST = {("mimi", 8): 0.10}
"""Most that Triton and the client may take of a step, by codec and streams."""


def served_step_rows(codec: Codec, threads: int, sound: Sound, url: str, quick: bool = False) -> list[Row]:
    """What is outside of the step, as a share of all: streams push together and wait for each other."""
    if not has_streams(codec.name, "decode_stream"):
        return []
    return [_row(codec.name, threads, sound, url, count, quick) for count in _STREAMS]


def _row(codec: str, threads: int, sound: Sound, url: str, streams: int, quick: bool) -> Row:
    bare = our_step(codec, "decode", streams, threads, sound)
    with asyncio.Runner() as runner:
        crowd = _Crowd(codec, url, sound, streams)
        runner.run(crowd.open())
        served = _pushing(runner, crowd)
        for _ in range(_WARM):
            bare()
            served()
        times = alternating([served, bare], _QUICK_ROUNDS if quick else _ROUNDS)
        runner.run(crowd.close())
    share = spread_of([1 - alone / through for through, alone in zip(*times, strict=True)])
    through, alone = (spread_of(each).median for each in times)
    limit = _MOST.get((codec, streams))
    target, ok = ("none", True) if limit is None else (f"<= {limit:g}", share.high <= limit)
    how = f"streams: {streams}, in step; {through:.1f} ms through client and server, {alone:.1f} ms without"
    check = f"outside_the_step_batch{streams}"
    return Row(codec, check, share.median, "share", target, ok, how, share.low, share.high)


def _pushing(runner: asyncio.Runner, crowd: "_Crowd") -> Callable[[], object]:
    return lambda: runner.run(crowd.push())


class _Crowd:
    """Streams on one event loop, each with frames of its own."""

    def __init__(self, codec: str, url: str, sound: Sound, streams: int):
        self._client, self._count = AsyncCodec(codec, url), streams
        self._frames = sound.frames("decode", streams)
        self._streams: list[AsyncStream[np.float32]] = []

    async def open(self) -> None:
        """Of the client; streams open with their first frame."""
        await self._client.__aenter__()
        self._streams = [self._client.decode_stream() for _ in range(self._count)]

    async def push(self) -> list[NDArray[np.float32]]:
        """A frame of each."""
        frames = next(self._frames)
        return await asyncio.gather(
            *(stream.push(frame) for stream, frame in zip(self._streams, frames, strict=True))
        )

    async def close(self) -> None:
        """All of it."""
        await asyncio.gather(*(stream.close() for stream in self._streams))
        await self._client.close()
