"""The two things that a socket's stream can do: decode tokens, and encode audio."""

from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from tritone_client.aio import AsyncCodec, AsyncStream
from tritone_client.errors import AudioFormatError, ChunkPlanError
from tritone_client.formats.output import RATES_HZ, AudioFormat
from tritone_client.gateway.failures import MessageError, ParameterError
from tritone_client.gateway.sockets.inbox import Message
from tritone_client.gateway.sockets.messages import Said, audio_in, tokens_in
from tritone_client.gateway.sockets.opus import OggOpus, opus_rate
from tritone_client.gateway.sockets.query import AUDIO_FORMATS, StreamQuery
from tritone_client.info import CodecInfo
from tritone_client.inputs.checks import checked_codebooks, refuse_live_streams
from tritone_client.streams.chunk_plan import ChunkPlan, PlannedFrames

__all__ = ["Job", "job_of"]

_MOST_CHUNK_S = 10.0
_PIECE_S = 2.0
"""A longer message is pushed in pieces, so that its stream keeps its pace."""

Answer = bytes | dict[str, Any]


class Job(Protocol):
    """What one socket asked for.

    ``facts`` is what the client is told first, ``frames`` counts frames of tokens so far, and ``seconds`` the
    audio of these.
    """

    facts: dict[str, Any]
    frames: int

    @property
    def seconds(self) -> float:
        """Of audio so far."""

    def said(self, message: Message) -> Said:
        """What a message says; errors as of :mod:`tritone_client.gateway.sockets.messages`."""

    def opened(self, first: Said) -> AsyncStream[Any]:
        """The codec's stream; MessageError if a second one is asked for."""

    def pieces(self, said: Said) -> Iterator[tuple[Any, float]]:
        """What to push, and the seconds of audio in it."""

    def answer(self, output: NDArray[Any], last: bool = False) -> Answer | None:
        """What to send of the stream's output; None for nothing."""


def job_of(query: StreamQuery, codec: AsyncCodec) -> Job:
    """The job of a query; errors as of :meth:`AsyncCodec.stream` and :meth:`AsyncCodec.encode_stream`."""
    largest = codec.info.codebook_size - 1
    if query.tokens is not None and largest > (most := np.iinfo(query.tokens).max):
        kind = np.dtype(query.tokens).name
        known = f"tokens of {codec.info.name} are 0..{largest}"
        raise ParameterError(f"{known}, got tokens={kind}, which ends at {most}; use int32")
    return _Decoding(query, codec) if query.direction == "decode" else _Encoding(query, codec)


def _chunk_plan(query: StreamQuery, info: CodecInfo) -> ChunkPlan:
    """The plan of a query; frames wait here until their chunk is complete, so chunks have a limit."""
    most = max(1, int(_MOST_CHUNK_S * info.frame_rate_hz))
    if max(query.first or 0, query.then or 0) > most:
        raise ChunkPlanError(
            f"a chunk has at most {most} frames here, got first={query.first} and then={query.then}"
        )
    return ChunkPlan(query.first, query.then)


def _facts(query: StreamQuery, info: CodecInfo, rate_hz: int, books: int) -> dict[str, Any]:
    return {
        "codec": info.name,
        "direction": query.direction,
        "format": query.format,
        "sample_rate": rate_hz,
        "channels": info.num_channels,
        "codebooks": books,
        "frame_ms": 1000 / info.frame_rate_hz,
    }


class _Decoding:
    def __init__(self, query: StreamQuery, codec: AsyncCodec):
        info = codec.info
        self._query, self._codec, self._info = query, codec, info
        self._books = checked_codebooks(query.codebooks, info)
        self._rate_hz = query.sample_rate or info.sample_rate_hz
        self._opus: OggOpus | None = None
        if query.format == "opus":
            AudioFormat(sample_rate_hz=query.sample_rate)  # refuses a wrong rate, which is rounded up here
            self._rate_hz = opus_rate(self._rate_hz)
            self._opus = OggOpus(self._rate_hz, info.num_channels)
        self._planned = PlannedFrames(_chunk_plan(query, info), info)
        self._stream = self._new_stream(None)  # refuses a wrong rate before anything is sent
        self._is_open, self.frames, self._most = False, 0, max(1, int(_PIECE_S * info.frame_rate_hz))
        self.facts = _facts(query, info, self._rate_hz, self._books)

    @property
    def seconds(self) -> float:
        return self.frames / self._info.frame_rate_hz

    def _new_stream(self, prefix: Any) -> AsyncStream[Any]:
        dtype = AUDIO_FORMATS[self._query.format]
        asked_hz = self._query.sample_rate if self._opus is None else self._rate_hz
        return self._codec.decode_stream(prefix, asked_hz, dtype=dtype)

    def said(self, message: Message) -> Said:
        said = tokens_in(message, self._info, self._books, self._query.tokens)
        if said.prefix is not None and self._is_open:
            raise MessageError("a prefix comes in the first message, before any frames")
        return said

    def opened(self, first: Said) -> AsyncStream[Any]:
        self._is_open = True
        return self._stream if first.prefix is None else self._new_stream(first.prefix)

    def pieces(self, said: Said) -> Iterator[tuple[Any, float]]:
        chunks = [] if said.data is None or not said.data.shape[1] else self._planned.push(said.data)
        chunks += self._planned.flush() if said.ends else []
        for chunk in chunks:
            for start in range(0, chunk.shape[1], self._most):
                piece = chunk[:, start : start + self._most]
                self.frames += piece.shape[1]
                yield piece, piece.shape[1] / self._info.frame_rate_hz

    def answer(self, output: NDArray[Any], last: bool = False) -> Answer | None:
        if self._opus is not None:
            return self._opus.push(output) + (self._opus.close() if last else b"") or None
        wire = output.astype(output.dtype.newbyteorder("<"), copy=False)
        return np.ascontiguousarray(wire.T).tobytes() if output.shape[-1] else None


class _Encoding:
    def __init__(self, query: StreamQuery, codec: AsyncCodec):
        info = codec.info
        self._query, self._info, self._dtype = query, info, AUDIO_FORMATS[query.format]
        refuse_live_streams(info)
        self._rate_hz = query.sample_rate or info.encode_sample_rate_hz
        if self._rate_hz != info.encode_sample_rate_hz and self._rate_hz not in RATES_HZ:
            raise AudioFormatError(
                f"audio to encode comes at the codec's rate or at {RATES_HZ[0]}..{RATES_HZ[-1]} Hz, got "
                f"{self._rate_hz} Hz; convert it first"
            )
        self._stream = codec.encode_stream(self._rate_hz, query.codebooks, self._dtype)
        self.frames, self._samples = 0, 0
        books = checked_codebooks(query.codebooks, info)
        self.facts = _facts(query, info, self._rate_hz, books)

    @property
    def seconds(self) -> float:
        return self._samples / self._rate_hz

    def said(self, message: Message) -> Said:
        return audio_in(message, self._info, self._dtype)

    def opened(self, first: Said) -> AsyncStream[Any]:
        return self._stream

    def pieces(self, said: Said) -> Iterator[tuple[Any, float]]:
        if said.data is None:
            return
        most = int(_PIECE_S * self._rate_hz)
        for start in range(0, said.data.shape[-1], most):
            piece = said.data[..., start : start + most]
            self._samples += piece.shape[-1]
            yield piece, piece.shape[-1] / self._rate_hz

    def answer(self, output: NDArray[Any], last: bool = False) -> Answer | None:
        if not output.shape[1]:
            return None
        self.frames += output.shape[1]
        if self._query.tokens is None:
            return {"frames": output.T.tolist()}
        return np.ascontiguousarray(output.T).astype(self._query.tokens).tobytes()
