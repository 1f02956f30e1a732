"""A codec on a Triton server: tokens to sound and sound to tokens."""

from collections.abc import Generator, Iterable
from pathlib import Path
from types import TracebackType
from typing import Any, TypeAlias, overload

import numpy as np
from numpy.typing import NDArray

from tritone_client.codec_base import CodecBase, local_module
from tritone_client.codec_models import DECODE, Endpoints, codecs_among, endpoints
from tritone_client.errors import ServerUnavailableError
from tritone_client.info import StreamInfo
from tritone_client.inputs.arrays import ArrayLike, AudioLike, ManyAudio, ManyTokens, TokensLike
from tritone_client.sansio import run
from tritone_client.streams.failover import Resume
from tritone_client.streams.stream import AudioIterator, Stream
from tritone_client.transport.access import Access
from tritone_client.transport.tls import Tls

__all__ = ["Codec", "served_codecs"]

Audio: TypeAlias = NDArray[np.float32]
Tokens: TypeAlias = NDArray[np.int64]


class Codec(CodecBase):
    """A codec on a server, or in this process; also a context manager.

    Everything about the codec is read from the server, or from the repository. The methods may be called from
    several threads. Of several servers, each of which must serve the same, the first that answers decodes
    whole inputs; live streams begin at them in turn, and go on at another one where theirs fails. In this
    process the streams of all threads and tasks share batches, as they do on a server.

    Args:
        name: of the codec, as in :func:`served_codecs`.
        url: host and gRPC port, or several; or a ``Path``, the folder of a model repository whose models
            are to run in this process.
        timeout_s: longest wait for one answer of a server.
        resume: how streams go on; one server is tried again too. Default: only with several servers.
        tls: certificates; connections are encrypted only if they are given.
        api_key: for servers behind a proxy that asks for one; not in the clear, except on this machine.

    Raises:
        ValueError: no server, or a key that others could read on its way.
        AddressError: an address that is not of a form gRPC understands.
        AccessDeniedError: no API key, or not a right one.
        ServerUnavailableError: nobody answers there.
        WrongProtocolError: what answers there speaks HTTP, or expects encryption, or does not.
        UnknownCodecError: the server does not have the codec; the message lists those it has.
        RepositoryError: the folder's models cannot be used; the message says why and what to do.
        MissingExtraError: a folder was given, and the local extra is not installed.
    """

    def __init__(
        self,
        name: str,
        url: Endpoints = "127.0.0.1:8001",
        timeout_s: float = 120.0,
        resume: Resume | None = None,
        tls: Tls | None = None,
        api_key: str | None = None,
    ):
        super().__init__(name, url, timeout_s, resume, tls, api_key)
        try:
            run(self._opening())
        except BaseException:
            self.close()
            raise

    def _transport(self, url: str | Path) -> Any:
        return transport_to(url, self._timeout_s, self._access)

    @property
    def stream_info(self) -> StreamInfo | None:
        """Limits of the server's live decoding streams; None where it has windows only."""
        with self._closing_is_told():
            return run(self._open_served().stream_info(DECODE))

    def close(self) -> None:
        """Close the connection; streams that are open go on."""
        run(self._closing())

    def __enter__(self) -> "Codec":
        self._refuse_unless_open()
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.close()

    @overload
    def decode(self, tokens: TokensLike) -> Audio: ...

    @overload
    def decode(self, tokens: ManyTokens) -> list[Audio]: ...

    def decode(self, tokens: TokensLike | ManyTokens) -> Audio | list[Audio]:
        """Turn tokens into audio.

        Args:
            tokens: integers [K, T], as an array of any library that NumPy can view or as nested lists;
                or a list of such, of any lengths.

        Returns:
            Audio FP32 [T * samples_per_frame], or a list of such; a codec may go a little beyond -1..1.

        Raises:
            TokensError: wrong shape or type, no frames, or a token out of range; nothing was sent. It
                says which utterance of a list is meant, and has its index as ``utterance``.
            CodecNotOpenError: the codec was closed.
            ServerRefusedError, ServerUnavailableError: what the server did with it.
        """
        with self._closing_is_told():
            return run(self._decoding(tokens))  # type: ignore[no-any-return]

    @overload
    def encode(self, audio: AudioLike, sample_rate_hz: int, num_codebooks: int | None = None) -> Tokens: ...

    @overload
    def encode(
        self, audio: ManyAudio, sample_rate_hz: int, num_codebooks: int | None = None
    ) -> list[Tokens]: ...

    def encode(
        self, audio: AudioLike | ManyAudio, sample_rate_hz: int, num_codebooks: int | None = None
    ) -> Tokens | list[Tokens]:
        """Turn audio into tokens; a last frame that is not full is filled up with silence.

        Args:
            audio: floats [S] within -1..1, one channel, as for :meth:`decode`; or a list of such.
            sample_rate_hz: of the audio; another than the codec's is converted (audio extra).
            num_codebooks: how many rows of tokens, for codecs that leave a choice.

        Returns:
            Tokens INT64 [K, T], T = ceil(S / samples_per_frame), or a list of such.

        Raises:
            AudioError: wrong shape or type, too short, or not finite; nothing was sent. It says which
                utterance of a list is meant, and has its index as ``utterance``.
            TokensError: a number of codebooks that the codec does not have; nothing was sent.
            CodecNotOpenError: the codec was closed.
            MissingExtraError: another sample rate without the audio extra.
            ServerRefusedError, ServerUnavailableError: what the server did with it.
        """
        with self._closing_is_told():
            return run(self._encoding(audio, sample_rate_hz, num_codebooks))  # type: ignore[no-any-return]

    def decode_stream(self) -> Stream[np.float32]:
        """Start an utterance: push tokens [K, T] of any T, or [K] for a frame, and get audio [S].

        Where the decoder looks ahead, audio comes ``info.lookaround_frames`` late, the rest at the end.
        """
        return Stream(self._decode_session())

    def encode_stream(self, sample_rate_hz: int, num_codebooks: int | None = None) -> Stream[np.int64]:
        """Start an utterance: push audio [S] of any length and get tokens [K, T], T perhaps 0.

        At the end a last frame that is not full is filled up with silence. Encoders that look ahead
        give their tokens late.
        """
        return Stream(self._encode_session(sample_rate_hz, num_codebooks))

    def stream(self, tokens: Iterable[ArrayLike]) -> Generator[Audio, None, None]:
        """Audio, piece by piece, of tokens that come piece by piece; closing the iterator ends both."""
        self._refuse_unless_open()
        return AudioIterator(self._pieces(tokens))

    def _pieces(self, tokens: Iterable[ArrayLike]) -> Generator[Audio, None, None]:
        with self.decode_stream() as stream:
            for piece in tokens:
                audio = stream.push(piece)
                if len(audio):
                    yield audio
            rest = stream.close()
            if len(rest):
                yield rest


def transport_to(url: str | Path, timeout_s: float, access: Access) -> Any:
    """The transport to a server, or to the models of a repository; neither imports what the other needs."""
    if isinstance(url, Path):
        return local_module().LocalTransport(url)
    from tritone_client.transport.grpc_transport import Transport

    return Transport(url, timeout_s, access)


def served_codecs(
    url: str | Path = "127.0.0.1:8001",
    timeout_s: float = 10.0,
    tls: Tls | None = None,
    api_key: str | None = None,
) -> list[str]:
    """Names of the codecs of a server, or of a model repository.

    Raises:
        ServerUnavailableError: nobody answers.
        RepositoryError: the folder has no models.
    """
    (address,) = endpoints(url)
    transport = transport_to(address, timeout_s, Access(tls, api_key).checked([address]))
    try:
        return codecs_among(transport.ready_models())
    except ServerUnavailableError as error:
        raise transport.explained(error) from error.__cause__
    finally:
        transport.close()
