"""Codecs for asyncio: no call blocks the event loop."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Iterable
from pathlib import Path
from types import TracebackType
from typing import Any, Generic, TypeVar, overload

import numpy as np
from numpy.typing import NDArray

from tritone_client.codec_base import CodecBase, local_module
from tritone_client.codec_models import DECODE
from tritone_client.formats.samples import Float32
from tritone_client.info import StreamInfo
from tritone_client.inputs.arrays import ArrayLike, AudioLike, ManyAudio, ManyTokens, TokensLike
from tritone_client.sansio import SansIO, run_async
from tritone_client.streams.chunk_plan import PlannedFrames
from tritone_client.streams.handle import OneAtATime, StreamHandle

__all__ = ["AsyncCodec", "AsyncStream"]

T = TypeVar("T", bound=np.generic)
R = TypeVar("R")
Audio = NDArray[np.float32]
Samples = NDArray[Any]
Tokens = NDArray[np.int64]


class AsyncStream(Generic[T]):
    """:class:`tritone_client.Stream` for asyncio. Cancelling a push ends the stream."""

    def __init__(self, handle: StreamHandle):
        self._handle = handle

    @property
    def delay_ms(self) -> float:
        """As :attr:`tritone_client.Stream.delay_ms`; CodecNotOpenError before the stream was started."""
        return self._handle.live.delay_ms

    @property
    def clipped(self) -> int:
        """As :attr:`tritone_client.Stream.clipped`; CodecNotOpenError before the stream was started."""
        return self._handle.live.clipped

    async def push(self, data: ArrayLike | list[Any]) -> NDArray[T]:
        """As :meth:`tritone_client.Stream.push`."""
        return await run_async(self._handle.push(data))

    async def close(self) -> NDArray[T]:
        """As :meth:`tritone_client.Stream.close`."""
        return await run_async(self._handle.close())

    async def __aenter__(self) -> "AsyncStream[T]":
        await run_async(self._handle.open())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, *_: BaseException | TracebackType | None
    ) -> None:
        await run_async(self._handle.leave(failed=kind is not None))


class AsyncCodec(CodecBase):
    """:class:`tritone_client.Codec` for asyncio, on a server or in this process.

    ``async with`` opens it; it belongs to the event loop that runs then. Its methods have the arguments,
    results and errors of :class:`tritone_client.Codec`.
    """

    async def __aenter__(self) -> "AsyncCodec":
        if self._models is not None:
            self._open_models()
            return self
        try:
            await run_async(self._open())
            self._stream_info = await run_async(self._open_models().stream_info(DECODE))
        except BaseException:
            await self.close()
            raise
        return self

    async def __aexit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        await self.close()

    def _transport(self, url: str | Path) -> Any:
        if isinstance(url, Path):
            return local_module().AsyncLocalTransport(url, self._device)
        from tritone_client.transport.grpc_aio import AsyncTransport

        return AsyncTransport(url, self._timeout_s, self._access)

    async def close(self) -> None:
        """Close the connection. Open streams go on: each has a connection of its own."""
        await run_async(self._close())

    @property
    def stream_info(self) -> StreamInfo | None:
        """As :attr:`tritone_client.Codec.stream_info`."""
        self._refuse_unless_open()
        return self._stream_info

    @overload
    async def decode(
        self, tokens: TokensLike, sample_rate_hz: int | None = None, dtype: Float32 = "float32"
    ) -> Audio: ...

    @overload
    async def decode(
        self, tokens: ManyTokens, sample_rate_hz: int | None = None, dtype: Float32 = "float32"
    ) -> list[Audio]: ...

    @overload
    async def decode(
        self, tokens: TokensLike, sample_rate_hz: int | None = None, *, dtype: str
    ) -> Samples: ...

    @overload
    async def decode(
        self, tokens: ManyTokens, sample_rate_hz: int | None = None, *, dtype: str
    ) -> list[Samples]: ...

    async def decode(
        self,
        tokens: TokensLike | ManyTokens,
        sample_rate_hz: int | None = None,
        dtype: str = "float32",
    ) -> Samples | list[Samples]:
        """As :meth:`tritone_client.Codec.decode`: tokens [K, T] into audio [S] or [C, S].

        A list becomes a list.
        """
        return await self._run(self._decode(tokens, sample_rate_hz, dtype))

    @overload
    async def encode(
        self,
        audio: AudioLike,
        sample_rate_hz: int,
        num_codebooks: int | None = None,
        dtype: str = "float32",
    ) -> Tokens: ...

    @overload
    async def encode(
        self,
        audio: ManyAudio,
        sample_rate_hz: int,
        num_codebooks: int | None = None,
        dtype: str = "float32",
    ) -> list[Tokens]: ...

    async def encode(
        self,
        audio: AudioLike | ManyAudio,
        sample_rate_hz: int,
        num_codebooks: int | None = None,
        dtype: str = "float32",
    ) -> Tokens | list[Tokens]:
        """As :meth:`tritone_client.Codec.encode`: audio [S] or [C, S] into tokens INT64 [K, T].

        A list becomes a list.
        """
        return await self._run(self._encode(audio, sample_rate_hz, num_codebooks, dtype))

    @overload
    def decode_stream(
        self,
        prefix: TokensLike | None = None,
        sample_rate_hz: int | None = None,
        dtype: Float32 = "float32",
    ) -> AsyncStream[np.float32]: ...

    @overload
    def decode_stream(
        self, prefix: TokensLike | None = None, sample_rate_hz: int | None = None, *, dtype: str
    ) -> AsyncStream[Any]: ...

    def decode_stream(
        self,
        prefix: TokensLike | None = None,
        sample_rate_hz: int | None = None,
        dtype: str = "float32",
    ) -> AsyncStream[Any]:
        """As :meth:`tritone_client.Codec.decode_stream`; ``async with`` or the first push starts it.

        That also sends the prefix, and raises its errors.
        """
        return AsyncStream(self._new_decode_stream(prefix, sample_rate_hz, dtype))

    def encode_stream(
        self, sample_rate_hz: int, num_codebooks: int | None = None, dtype: str = "float32"
    ) -> AsyncStream[np.int64]:
        """As :meth:`tritone_client.Codec.encode_stream`; ``async with`` or the first push starts it."""
        return AsyncStream(self._new_encode_stream(sample_rate_hz, num_codebooks, dtype))

    def stream(
        self,
        tokens: AsyncIterable[ArrayLike] | Iterable[ArrayLike],
        first: int | None = None,
        then: int | None = None,
        prefix: TokensLike | None = None,
        sample_rate_hz: int | None = None,
        dtype: str = "float32",
    ) -> AsyncGenerator[Samples, None]:
        """As :meth:`tritone_client.Codec.stream`; ``tokens`` may be an iterator or an async iterator."""
        frames = self._planned(first, then)
        stream: AsyncStream[Any] = AsyncStream(self._new_decode_stream(prefix, sample_rate_hz, dtype))
        return _AsyncAudioIterator(_pieces_of(stream, frames, tokens))

    def _current_owner(self) -> tuple[Any, ...]:
        return (*super()._current_owner(), asyncio.get_running_loop())

    async def _run(self, operation: SansIO[R]) -> R:
        with self._reports_closing():
            try:
                return await run_async(operation)
            except asyncio.CancelledError as error:
                task = asyncio.current_task()
                if self._models is not None or task is None or task.cancelling():
                    raise
                raise ConnectionAbortedError("the call was cancelled with its connection") from error


class _AsyncAudioIterator(AsyncGenerator[Samples, None]):
    """An iterator over pieces of audio; StreamBusyError if two tasks ask it at once."""

    def __init__(self, pieces: AsyncGenerator[Samples, None]):
        self._pieces, self._one_at_a_time = pieces, OneAtATime()

    async def asend(self, value: None) -> Samples:
        with self._one_at_a_time.during("the next piece"):
            return await self._pieces.asend(value)

    async def athrow(self, *error: Any) -> Samples:
        with self._one_at_a_time.during("the end"):
            return await self._pieces.athrow(*error)

    async def aclose(self) -> None:
        # AsyncGenerator's own takes a generator that has ended for one that goes on.
        with self._one_at_a_time.during("the end"):
            await self._pieces.aclose()


async def _pieces_of(
    stream: AsyncStream[Any],
    frames: PlannedFrames,
    tokens: AsyncIterable[ArrayLike] | Iterable[ArrayLike],
) -> AsyncGenerator[Samples, None]:
    async with stream:
        async for chunk in _chunks(frames, tokens):
            audio = await stream.push(chunk)
            if audio.shape[-1]:
                yield audio
        rest = await stream.close()
        if rest.shape[-1]:
            yield rest


async def _chunks(
    frames: PlannedFrames, items: AsyncIterable[ArrayLike] | Iterable[ArrayLike]
) -> AsyncIterator[Any]:
    if isinstance(items, AsyncIterable):
        async for item in items:
            for chunk in frames.push(item):
                yield chunk
        for chunk in frames.flush():
            yield chunk
    else:
        for chunk in frames.chunks(items):
            yield chunk
