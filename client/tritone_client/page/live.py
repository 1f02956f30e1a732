"""The page's live player: decodes tokens frame by frame at the pace of the audio, over a web socket.

The browser sends ``{"codec", "recording"}``. It receives an object with the facts; then for each frame an
object with its time, and the samples as FP32, channel after channel; at the end ``{"ended": true}`` or
``{"error": text}``.
"""

import asyncio
import re
import time
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import httpx
import numpy as np
from fastapi import WebSocket, WebSocketDisconnect
from numpy.typing import NDArray

from tritone_client.aio import AsyncCodec
from tritone_client.errors import TokensError, TritoneError
from tritone_client.page.recordings import Recordings

__all__ = ["LivePlayer"]

T = TypeVar("T")

_TIMEOUT_S = 10.0
_METRICS_EVERY = 16
_LIVE = re.compile(r"^tritone_streams_live\{.*\} (\S+)$", re.MULTILINE)


@dataclass(frozen=True)
class LivePlayer:
    """Plays recordings through the models at ``url``; the server's metrics are at ``metrics_url``."""

    recordings: Recordings
    url: str | Path
    metrics_url: str | None

    async def __call__(self, socket: WebSocket) -> None:
        """Serve one browser until its recording ends, it leaves, or something fails."""
        await socket.accept()
        try:
            await self._play(socket, await socket.receive_json())
        except WebSocketDisconnect:
            return
        except (TritoneError, KeyError, ValueError) as error:
            await socket.send_json({"error": str(error)})
        await socket.close()

    async def _play(self, socket: WebSocket, wanted: dict[str, str]) -> None:
        tokens = self.recordings.find(wanted["recording"])
        if tokens is None:
            raise TokensError("the page no longer has this recording; send it through the codec again")
        async with (
            AsyncCodec(wanted["codec"], self.url, _TIMEOUT_S) as codec,
            codec.decode_stream() as stream,
        ):
            period_s = 1 / codec.info.frame_rate_hz
            info = codec.info
            facts = {
                "sample_rate_hz": info.sample_rate_hz,
                "frame_ms": 1000 * period_s,
                "channels": info.num_channels,
            }
            await socket.send_json(facts | {"frames": tokens.shape[1]})
            count = None
            async for number, frame in _paced(tokens.T, period_s):
                if number % _METRICS_EVERY == 0:
                    count = await self._streams_live()
                begun = time.perf_counter()
                audio = await stream.push(frame)
                took_ms = 1000 * (time.perf_counter() - begun)
                figures = {"frame": number + 1, "took_ms": took_ms, "streams_live": count}
                await _send(socket, audio, figures)
            await _send(socket, await stream.close(), {})
        await socket.send_json({"ended": True})

    async def _streams_live(self) -> int | None:
        """Live streams of all models on the server; None if its metrics cannot be read."""
        if self.metrics_url is None:
            return None
        try:
            async with httpx.AsyncClient(timeout=1.0, trust_env=False) as client:
                text = (await client.get(self.metrics_url)).text
        except (httpx.HTTPError, httpx.InvalidURL):
            return None
        return round(sum(float(count) for count in _LIVE.findall(text)))


async def _send(socket: WebSocket, audio: NDArray[np.float32], figures: dict[str, Any]) -> None:
    if figures:
        await socket.send_json(figures)
    if audio.shape[-1]:
        await socket.send_bytes(audio.astype("<f4").tobytes())


async def _paced(items: Iterable[T], period_s: float) -> AsyncIterator[tuple[int, T]]:
    """The items and their indices, one per ``period_s``."""
    begun = time.perf_counter()
    for number, item in enumerate(items):
        await asyncio.sleep(max(0.0, begun + number * period_s - time.perf_counter()))
        yield number, item
