"""The same codecs for asyncio: nothing here blocks the event loop."""

from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Iterable, Sequence
from types import TracebackType
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from tritone_client.access import Access
from tritone_client.aio_transport import AsyncTransport
from tritone_client.info import CodecInfo
from tritone_client.live import Live
from tritone_client.offline import decoded, encoded
from tritone_client.resuming import Resume
from tritone_client.served import DECODE, Served, endpoints
from tritone_client.steps import Steps, awaited
from tritone_client.tls import Tls

__all__ = ["AsyncCodec", "AsyncStream"]

T = TypeVar("T", np.float32, np.int64)


class AsyncStream(Generic[T]):
    """:class:`tritone_client.Stream` for one task at a time; a push that is cancelled ends the stream."""

    def __init__(self, opening: Steps[Live]):
        self._opening = opening
        self._live: Live | None = None

    async def push(self, data: NDArray[Any]) -> NDArray[T]:
        """Give the next piece, of any length, and get what is ready, which may be empty."""
        return await awaited((await self._opened()).push(data))

    async def close(self) -> NDArray[T]:
        """End the stream and get what is left; a second time, nothing."""
        return await awaited((await self._opened()).close())

    async def __aenter__(self) -> "AsyncStream[T]":
        await self._opened()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, *_: BaseException | TracebackType | None
    ) -> None:
        if kind is None:
            await self.close()
        else:
            await awaited((await self._opened()).drop())

    async def _opened(self) -> Live:
        if self._live is None:
            self._live = await awaited(self._opening)
        return self._live


class AsyncCodec:
    """:class:`tritone_client.Codec` for asyncio; an async context manager, which reads ``info``."""

    info: CodecInfo

    def __init__(
        self,
        name: str,
        url: str | Sequence[str] = "127.0.0.1:8001",
        timeout_s: float = 120.0,
        resume: Resume | None = None,
        tls: Tls | None = None,
        api_key: str | None = None,
    ):
        self.name, self._urls, self._timeout_s = name, endpoints(url), timeout_s
        self._access = Access(tls, api_key).checked(self._urls)
        self._resume = resume

    async def __aenter__(self) -> "AsyncCodec":
        # They belong to the running loop.
        self._transports = [AsyncTransport(url, self._timeout_s, self._access) for url in self._urls]
        self._served = Served(self.name, self._transports, self._resume)
        try:
            self.info = await awaited(self._served.info(DECODE))
        except BaseException:
            await self.close()
            raise
        return self

    async def __aexit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connection."""
        for transport in self._transports:
            await transport.close()

    async def decode(self, tokens: NDArray[Any]) -> NDArray[np.float32]:
        """Turn tokens [K, T] into audio [S]."""
        return (await awaited(decoded(self._served, [tokens])))[0]

    async def encode(
        self, audio: NDArray[Any], sample_rate_hz: int, num_codebooks: int | None = None
    ) -> NDArray[np.int64]:
        """Turn audio [S] into tokens [K, T]."""
        return (await awaited(encoded(self._served, [audio], sample_rate_hz, num_codebooks)))[0]

    def decode_stream(self) -> AsyncStream[np.float32]:
        """Start an utterance, for ``async with``: push tokens and get audio."""
        return AsyncStream(self._served.decode_stream())

    def encode_stream(self, sample_rate_hz: int, num_codebooks: int | None = None) -> AsyncStream[np.int64]:
        """Start an utterance, for ``async with``: push audio and get tokens."""
        return AsyncStream(self._served.encode_stream(sample_rate_hz, num_codebooks))

    async def stream(
        self, tokens: AsyncIterable[NDArray[Any]] | Iterable[NDArray[Any]]
    ) -> AsyncGenerator[NDArray[np.float32], None]:
        """Audio, piece by piece, of tokens that come piece by piece; closing the iterator ends both."""
        async with self.decode_stream() as stream:
            async for piece in _each(tokens):
                audio = await stream.push(piece)
                if len(audio):
                    yield audio
            rest = await stream.close()
            if len(rest):
                yield rest


async def _each(
    items: AsyncIterable[NDArray[Any]] | Iterable[NDArray[Any]],
) -> AsyncIterator[NDArray[Any]]:
    if isinstance(items, AsyncIterable):
        async for item in items:
            yield item
    else:
        for item in items:
            yield item
