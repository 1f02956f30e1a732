"""The same codecs for asyncio: nothing here blocks the event loop."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Iterable
from pathlib import Path
from types import TracebackType
from typing import Any, Generic, TypeVar, overload

import numpy as np
from numpy.typing import NDArray

from tritone_client.codec_base import CodecBase, local_module
from tritone_client.codec_models import DECODE
from tritone_client.info import StreamInfo
from tritone_client.inputs.arrays import ArrayLike, AudioLike, ManyAudio, ManyTokens, TokensLike
from tritone_client.sansio import SansIO, run_async
from tritone_client.streams.handle import OneAtATime, StreamHandle

__all__ = ["AsyncCodec", "AsyncStream"]

T = TypeVar("T", np.float32, np.int64)
R = TypeVar("R")
Audio = NDArray[np.float32]
Tokens = NDArray[np.int64]


class AsyncStream(Generic[T]):
    """:class:`tritone_client.Stream` for asyncio; a push that is cancelled ends the stream."""

    def __init__(self, session: StreamHandle):
        self._session = session

    async def push(self, data: ArrayLike | list[Any]) -> NDArray[T]:
        """Give the next piece, of any length, and get what is ready, which may be empty."""
        return await run_async(self._session.push(data))

    async def close(self) -> NDArray[T]:
        """End the stream and get what is left; a second time, nothing."""
        return await run_async(self._session.close())

    async def __aenter__(self) -> "AsyncStream[T]":
        await run_async(self._session.open())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, *_: BaseException | TracebackType | None
    ) -> None:
        await run_async(self._session.leave(failed=kind is not None))


class AsyncCodec(CodecBase):
    """:class:`tritone_client.Codec` for asyncio: ``async with`` opens it, in the event loop that runs.

    All its methods take, give and raise the same.
    """

    async def __aenter__(self) -> "AsyncCodec":
        if self._served is not None:
            self._open_served()
            return self
        try:
            await run_async(self._opening())
            self._stream_info = await run_async(self._open_served().stream_info(DECODE))
        except BaseException:
            await self.close()
            raise
        return self

    async def __aexit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        await self.close()

    def _transport(self, url: str | Path) -> Any:
        if isinstance(url, Path):
            return local_module().AsyncLocalTransport(url)
        from tritone_client.transport.grpc_aio import AsyncTransport

        return AsyncTransport(url, self._timeout_s, self._access)

    async def close(self) -> None:
        """Close the connection; streams that are open go on."""
        await run_async(self._closing())

    @property
    def stream_info(self) -> StreamInfo | None:
        """Limits of the server's live decoding streams; None where it has windows only."""
        self._refuse_unless_open()
        return self._stream_info

    @overload
    async def decode(self, tokens: TokensLike) -> Audio: ...

    @overload
    async def decode(self, tokens: ManyTokens) -> list[Audio]: ...

    async def decode(self, tokens: TokensLike | ManyTokens) -> Audio | list[Audio]:
        """Turn tokens [K, T], or a list of such, into audio [S]."""
        return await self._asked(self._decoding(tokens))

    @overload
    async def encode(
        self, audio: AudioLike, sample_rate_hz: int, num_codebooks: int | None = None
    ) -> Tokens: ...

    @overload
    async def encode(
        self, audio: ManyAudio, sample_rate_hz: int, num_codebooks: int | None = None
    ) -> list[Tokens]: ...

    async def encode(
        self, audio: AudioLike | ManyAudio, sample_rate_hz: int, num_codebooks: int | None = None
    ) -> Tokens | list[Tokens]:
        """Turn audio [S], or a list of such, into tokens [K, T]."""
        return await self._asked(self._encoding(audio, sample_rate_hz, num_codebooks))

    def decode_stream(self) -> AsyncStream[np.float32]:
        """Start an utterance, for ``async with``: push tokens and get audio."""
        return AsyncStream(self._decode_session())

    def encode_stream(self, sample_rate_hz: int, num_codebooks: int | None = None) -> AsyncStream[np.int64]:
        """Start an utterance, for ``async with``: push audio and get tokens."""
        return AsyncStream(self._encode_session(sample_rate_hz, num_codebooks))

    def stream(self, tokens: AsyncIterable[ArrayLike] | Iterable[ArrayLike]) -> AsyncGenerator[Audio, None]:
        """Audio, piece by piece, of tokens that come piece by piece; closing the iterator ends both."""
        return _AsyncAudioIterator(_decoded(self.decode_stream(), tokens))

    def _here(self) -> tuple[Any, ...]:
        return (*super()._here(), asyncio.get_running_loop())

    async def _asked(self, steps: SansIO[R]) -> R:
        with self._closing_is_told():
            try:
                return await run_async(steps)
            except asyncio.CancelledError as error:
                task = asyncio.current_task()
                if self._served is not None or task is None or task.cancelling():
                    raise
                raise ConnectionAbortedError("the call was cancelled with its connection") from error


class _AsyncAudioIterator(AsyncGenerator[Audio, None]):
    """An iterator over pieces of audio; StreamBusyError where two tasks ask it at once."""

    def __init__(self, pieces: AsyncGenerator[Audio, None]):
        self._pieces, self._turns = pieces, OneAtATime()

    async def asend(self, value: None) -> Audio:
        self._turns.enter("the next piece")
        try:
            return await self._pieces.asend(value)
        finally:
            self._turns.leave()

    async def athrow(self, *error: Any) -> Audio:
        self._turns.enter("the end")
        try:
            return await self._pieces.athrow(*error)
        finally:
            self._turns.leave()


async def _decoded(
    stream: AsyncStream[np.float32], tokens: AsyncIterable[ArrayLike] | Iterable[ArrayLike]
) -> AsyncGenerator[Audio, None]:
    async with stream:
        async for piece in _each(tokens):
            audio = await stream.push(piece)
            if len(audio):
                yield audio
        rest = await stream.close()
        if len(rest):
            yield rest


async def _each(items: AsyncIterable[ArrayLike] | Iterable[ArrayLike]) -> AsyncIterator[ArrayLike]:
    if isinstance(items, AsyncIterable):
        async for item in items:
            yield item
    else:
        for item in items:
            yield item
