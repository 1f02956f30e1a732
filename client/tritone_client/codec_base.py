"""What codecs for threads and for asyncio have in common: everything but the waiting."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

from tritone_client.codec_models import DECODE, CodecModels, Endpoints, endpoints
from tritone_client.errors import AudioError, CodecNotOpenError, MissingExtraError, TokensError
from tritone_client.info import CodecInfo
from tritone_client.offline import decoded, encoded
from tritone_client.sansio import SansIO
from tritone_client.streams.failover import Resume
from tritone_client.streams.handle import StreamHandle
from tritone_client.streams.live import LiveStream
from tritone_client.transport.access import Access
from tritone_client.transport.tls import Tls

__all__ = ["CodecBase", "local_module"]


def local_module() -> Any:
    """The module that runs models in this process; it imports ONNX Runtime, which other codecs need not.

    Raises:
        MissingExtraError: the runtime is not installed.
    """
    try:
        return import_module("tritone_client.transport.local")
    except ImportError as error:
        raise MissingExtraError("a codec in this process", "local") from error


class CodecBase:
    """A codec that is open, or not: arguments as of :class:`tritone_client.Codec`."""

    def __init__(
        self,
        name: str,
        url: Endpoints = "127.0.0.1:8001",
        timeout_s: float = 120.0,
        resume: Resume | None = None,
        tls: Tls | None = None,
        api_key: str | None = None,
    ):
        self.name, self._urls, self._timeout_s, self._resume = name, endpoints(url), timeout_s, resume
        self._access = Access(tls, api_key).checked(self._urls)
        self._transports: list[Any] = []
        self._served: CodecModels | None = None
        self._info: CodecInfo | None = None
        self._place: tuple[Any, ...] = ()

    @property
    def info(self) -> CodecInfo:
        """Facts of the codec; CodecNotOpenError before it was opened."""
        if self._info is None:
            raise self._not_open()
        return self._info

    def _transport(self, url: str | Path) -> Any:
        """To one server, or to the models of a repository."""
        raise NotImplementedError

    def _opening(self) -> SansIO[None]:
        self._transports = [self._transport(url) for url in self._urls]
        self._served, self._place = CodecModels(self.name, self._transports, self._resume), self._here()
        self._info = yield from self._served.info(DECODE)

    def _closing(self) -> SansIO[None]:
        """Streams that are open go on: they have connections of their own."""
        self._served = None
        while self._transports:
            yield self._transports.pop().close

    def _decoding(self, tokens: Any) -> SansIO[Any]:
        return decoded(self._open_served(), tokens)

    def _encoding(self, audio: Any, sample_rate_hz: int, num_codebooks: int | None) -> SansIO[Any]:
        return encoded(self._open_served(), audio, sample_rate_hz, num_codebooks)

    def _decode_session(self) -> StreamHandle:
        return self._session(lambda served: served.decode_stream())

    def _encode_session(self, sample_rate_hz: int, num_codebooks: int | None) -> StreamHandle:
        return self._session(lambda served: served.encode_stream(sample_rate_hz, num_codebooks))

    def _session(self, begun: Callable[[CodecModels], SansIO[LiveStream]]) -> StreamHandle:
        self._refuse_unless_open()

        def opening() -> SansIO[LiveStream]:
            with self._closing_is_told():
                return (yield from begun(self._open_served()))

        return StreamHandle(opening)

    def _refuse_unless_open(self) -> None:
        if self._served is None:
            raise self._not_open()

    def _open_served(self) -> CodecModels:
        served = self._served
        if served is None:
            raise self._not_open()
        if self._place != self._here():
            raise CodecNotOpenError(
                f"{type(self).__name__}({self.name!r}) was opened in another process or event loop, "
                "where its connections belong; open one here"
            )
        return served

    def _here(self) -> tuple[Any, ...]:
        """Where connections that are made now can be used."""
        return (os.getpid(),)

    def _not_open(self) -> CodecNotOpenError:
        kind = type(self).__name__
        if self._info is not None:
            return CodecNotOpenError(f"{kind}({self.name!r}) was closed; open another one")
        return CodecNotOpenError(
            f"{kind}({self.name!r}) is not open yet: use 'async with {kind}(...) as codec:'"
        )

    @contextmanager
    def _closing_is_told(self) -> Iterator[None]:
        """Whatever a call met because its codec was closed meanwhile, it says just that."""
        try:
            yield
        except (TokensError, AudioError, CodecNotOpenError):
            raise
        except Exception as error:
            if self._served is not None:
                raise
            raise CodecNotOpenError(
                f"{type(self).__name__}({self.name!r}) was closed while a call was under way"
            ) from error
