"""AsyncCodec behind the interface of Codec, so that the same tests run on both clients."""

import asyncio
from collections.abc import AsyncIterator, Coroutine, Iterable, Iterator
from types import TracebackType
from typing import Any, Self, TypeAlias

from helpers.place import Place
from tritone_client import AsyncCodec, AsyncStream, Codec, CodecInfo, StreamInfo

__all__ = ["BlockingCodec", "BlockingStream", "Client"]


class BlockingStream:
    """An AsyncStream with the blocking interface of Stream."""

    def __init__(self, runner: asyncio.Runner, stream: AsyncStream[Any]):
        self._runner, self.stream = runner, stream

    def push(self, data: Any) -> Any:
        return self._runner.run(self.stream.push(data))

    def close(self) -> Any:
        return self._runner.run(self.stream.close())

    def __enter__(self) -> Self:
        self._runner.run(self.stream.__aenter__())
        return self

    def __exit__(self, *error: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._runner.run(self.stream.__aexit__(*error))  # type: ignore[arg-type]


class BlockingCodec:
    """An AsyncCodec with the blocking interface of Codec."""

    def __init__(self, name: str, place: Place):
        self._runner = asyncio.Runner()
        self.codec = AsyncCodec(name, place)
        self._run(self.codec.__aenter__())

    @property
    def info(self) -> CodecInfo:
        return self.codec.info

    @property
    def stream_info(self) -> StreamInfo | None:
        return self.codec.stream_info

    def decode(self, tokens: Any, sample_rate_hz: Any = None, dtype: Any = "float32") -> Any:
        return self._run(self.codec.decode(tokens, sample_rate_hz, dtype=dtype))

    def encode(
        self, audio: Any, sample_rate_hz: Any, num_codebooks: Any = None, dtype: Any = "float32"
    ) -> Any:
        return self._run(self.codec.encode(audio, sample_rate_hz, num_codebooks, dtype))

    def decode_stream(
        self, prefix: Any = None, sample_rate_hz: Any = None, dtype: Any = "float32"
    ) -> BlockingStream:
        return BlockingStream(self._runner, self.codec.decode_stream(prefix, sample_rate_hz, dtype=dtype))

    def encode_stream(
        self, sample_rate_hz: Any, num_codebooks: Any = None, dtype: Any = "float32"
    ) -> BlockingStream:
        return BlockingStream(self._runner, self.codec.encode_stream(sample_rate_hz, num_codebooks, dtype))

    def stream(self, tokens: Iterable[Any], *arguments: Any, **options: Any) -> Iterator[Any]:
        return self._following(self.codec.stream(tokens, *arguments, **options))

    def _following(self, pieces: AsyncIterator[Any]) -> Iterator[Any]:
        while (piece := self._run(_next(pieces))) is not None:
            yield piece

    def close(self) -> None:
        self._run(self.codec.close())

    def __enter__(self) -> Self:
        self._run(self.codec.__aenter__())
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.close()

    def end(self) -> None:
        """Close the client and its event loop."""
        self.close()
        self._runner.close()

    def _run(self, call: Coroutine[Any, Any, Any]) -> Any:
        return self._runner.run(call)


async def _next(pieces: AsyncIterator[Any]) -> Any:
    return await anext(pieces, None)


Client: TypeAlias = Codec | BlockingCodec
