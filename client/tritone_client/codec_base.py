"""What :class:`Codec` and :class:`AsyncCodec` share: everything except how they wait for answers."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

from tritone_client.codec_models import DECODE, CodecModels, Endpoints, endpoints
from tritone_client.errors import AudioError, CodecNotOpenError, MissingExtraError, TokensError
from tritone_client.formats.output import AudioFormat
from tritone_client.formats.samples import checked_dtype
from tritone_client.info import CodecInfo
from tritone_client.offline import decoded, encoded
from tritone_client.sansio import SansIO
from tritone_client.streams.chunk_plan import ChunkPlan, PlannedFrames
from tritone_client.streams.failover import Resume
from tritone_client.streams.handle import StreamHandle
from tritone_client.streams.live import LiveStream
from tritone_client.streams.opening import decode_stream, encode_stream
from tritone_client.transport.access import Access
from tritone_client.transport.tls import Tls

__all__ = ["CodecBase", "local_module"]


def local_module() -> Any:
    """The module that runs models in this process.

    It imports ONNX Runtime, which codecs on a server do not need.

    Raises:
        MissingExtraError: the ``local`` extra is not installed.
    """
    try:
        return import_module("tritone_client.transport.local")
    except ImportError as error:
        raise MissingExtraError("a codec in this process", "local") from error


class CodecBase:
    """A codec, open or not; arguments as of :class:`tritone_client.Codec`."""

    def __init__(
        self,
        name: str,
        url: Endpoints = "127.0.0.1:8001",
        timeout_s: float = 120.0,
        resume: Resume | None = None,
        tls: Tls | None = None,
        api_key: str | None = None,
        device: str | None = None,
    ):
        self.name, self._urls, self._timeout_s, self._resume = name, endpoints(url), timeout_s, resume
        self._access = Access(tls, api_key).checked(self._urls)
        self._device = device
        if device is not None and not all(isinstance(each, Path) for each in self._urls):
            raise ValueError(
                f"device={device!r} says where the models of a folder run; a server chooses its own, with "
                "tritone-serve --device"
            )
        self._transports: list[Any] = []
        self._models: CodecModels | None = None
        self._info: CodecInfo | None = None
        self._owner: tuple[Any, ...] = ()
        self._initialized()

    def _initialized(self) -> None:
        """Open the codec, where that needs no event loop."""

    @property
    def info(self) -> CodecInfo:
        """Facts of the codec; still there after closing. CodecNotOpenError before it was opened."""
        if self._info is None:
            raise self._not_open()
        return self._info

    def _transport(self, url: str | Path) -> Any:
        """The transport to one server, or to the models of a repository."""
        raise NotImplementedError

    def _open(self) -> SansIO[None]:
        self._transports = [self._transport(url) for url in self._urls]
        self._models = CodecModels(self.name, self._transports, self._resume)
        self._owner = self._current_owner()
        self._info = yield from self._models.info(DECODE)

    def _close(self) -> SansIO[None]:
        self._models = None
        while self._transports:
            yield self._transports.pop().close

    def _decode(self, tokens: Any, sample_rate_hz: int | None, dtype: str) -> SansIO[Any]:
        return decoded(self._open_models(), tokens, AudioFormat(dtype, sample_rate_hz))

    def _encode(self, audio: Any, sample_rate_hz: int, num_codebooks: int | None, dtype: str) -> SansIO[Any]:
        return encoded(self._open_models(), audio, sample_rate_hz, num_codebooks, checked_dtype(dtype))

    def _new_decode_stream(self, prefix: Any, sample_rate_hz: int | None, dtype: str) -> StreamHandle:
        wanted = AudioFormat(dtype, sample_rate_hz)
        return self._new_stream(partial(decode_stream, prefix=prefix, wanted=wanted))

    def _planned(self, first: int | None, then: int | None) -> PlannedFrames:
        plan = ChunkPlan(first, then)
        self._refuse_unless_open()
        return PlannedFrames(plan, self.info)

    def _new_encode_stream(self, sample_rate_hz: int, num_codebooks: int | None, dtype: str) -> StreamHandle:
        return self._new_stream(
            partial(
                encode_stream,
                sample_rate_hz=sample_rate_hz,
                num_codebooks=num_codebooks,
                dtype=checked_dtype(dtype),
            )
        )

    def _new_stream(self, open_on: Callable[[CodecModels], SansIO[LiveStream]]) -> StreamHandle:
        self._refuse_unless_open()

        def open_stream() -> SansIO[LiveStream]:
            with self._reports_closing():
                return (yield from open_on(self._open_models()))

        return StreamHandle(open_stream)

    def _refuse_unless_open(self) -> None:
        if self._models is None:
            raise self._not_open()

    def _open_models(self) -> CodecModels:
        models = self._models
        if models is None:
            raise self._not_open()
        if self._owner != self._current_owner():
            raise CodecNotOpenError(
                f"{type(self).__name__}({self.name!r}) was opened in another process or event loop, "
                "where its connections belong; open one here"
            )
        return models

    def _current_owner(self) -> tuple[Any, ...]:
        """The process, and for asyncio the event loop, that may use a connection made now."""
        return (os.getpid(),)

    def _not_open(self) -> CodecNotOpenError:
        kind = type(self).__name__
        if self._info is not None:
            return CodecNotOpenError(f"{kind}({self.name!r}) was closed; open another one")
        return CodecNotOpenError(
            f"{kind}({self.name!r}) is not open yet: use 'async with {kind}(...) as codec:'"
        )

    @contextmanager
    def _reports_closing(self) -> Iterator[None]:
        """Raise CodecNotOpenError in place of any error that a call met after the codec was closed."""
        try:
            yield
        except (TokensError, AudioError, CodecNotOpenError):
            raise
        except Exception as error:
            if self._models is not None:
                raise
            raise CodecNotOpenError(
                f"{type(self).__name__}({self.name!r}) was closed while a call was under way"
            ) from error
