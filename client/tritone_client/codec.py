"""A codec on a Triton server or in this process: tokens to audio and audio to tokens."""

from collections.abc import Generator, Iterable
from pathlib import Path
from types import TracebackType
from typing import Any, TypeAlias, overload

import numpy as np
from numpy.typing import NDArray

from tritone_client.codec_base import CodecBase
from tritone_client.codec_models import DECODE
from tritone_client.formats.samples import Float32
from tritone_client.info import StreamInfo
from tritone_client.inputs.arrays import ArrayLike, AudioLike, ManyAudio, ManyTokens, TokensLike
from tritone_client.sansio import run
from tritone_client.served import transport_to
from tritone_client.streams.chunk_plan import PlannedFrames
from tritone_client.streams.handle import StreamHandle
from tritone_client.streams.stream import AudioIterator, Stream

__all__ = ["Codec"]

Audio: TypeAlias = NDArray[np.float32]
Samples: TypeAlias = NDArray[Any]
Tokens: TypeAlias = NDArray[np.int64]


class Codec(CodecBase):
    """A codec on a server or in this process; also a context manager.

    The codec's facts are read from the server, or from the model repository. Several threads may call the
    methods. If several servers are given, they must all serve the same codec: the first one that answers gets
    whole inputs; live streams start at the servers in turn, and a stream whose server fails continues at
    another one. In this process, streams of all threads and tasks share batches, as they do on a server.

    Args:
        name: name of the codec, as :func:`served_codecs` lists it.
        url: where the models run: a server's address (host and gRPC port); several addresses; or a ``Path``,
            the folder of a model repository whose models run in this process.
        timeout_s: longest wait for one answer of a server; without effect in this process.
        resume: settings of failover and replay. By default streams fail over only if there are several
            servers; with settings, the client also retries a single server.
        tls: certificates; connections are encrypted only if this is given.
        api_key: for servers behind a proxy that asks for a key; needs ``tls``, except on this machine.
        device: where the models of a folder run: ``cpu`` or ``cuda``; by default on the device that they
            were built for.

    Raises:
        ValueError: no address was given; or others could read the API key on its way; or ``tls`` or
            ``api_key`` was given with a folder, or ``device`` with a server.
        AddressError: an address has a form that gRPC does not understand.
        AccessDeniedError: the API key is missing or wrong.
        ServerUnavailableError: no server answers at the address.
        WrongProtocolError: the port speaks HTTP, or TLS is used on one side only.
        UnknownCodecError: the server or the folder does not have the codec; the message lists the codecs
            that it has.
        RepositoryError: the folder's models cannot be used; the message says why and what to do.
        MissingExtraError: a folder was given, and the ``local`` extra is not installed.
    """

    def _initialized(self) -> None:
        try:
            run(self._open())
        except BaseException:
            self.close()
            raise

    def _transport(self, url: str | Path) -> Any:
        return transport_to(url, self._timeout_s, self._access, self._device)

    @property
    def stream_info(self) -> StreamInfo | None:
        """Limits of live decoding streams; None if the codec has only a stateless decoder."""
        with self._reports_closing():
            return run(self._open_models().stream_info(DECODE))

    def close(self) -> None:
        """Close the connection. Open streams go on: each has a connection of its own."""
        run(self._close())

    def __enter__(self) -> "Codec":
        self._refuse_unless_open()
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.close()

    @overload
    def decode(
        self, tokens: TokensLike, sample_rate_hz: int | None = None, dtype: Float32 = "float32"
    ) -> Audio: ...

    @overload
    def decode(
        self, tokens: ManyTokens, sample_rate_hz: int | None = None, dtype: Float32 = "float32"
    ) -> list[Audio]: ...

    @overload
    def decode(self, tokens: TokensLike, sample_rate_hz: int | None = None, *, dtype: str) -> Samples: ...

    @overload
    def decode(
        self, tokens: ManyTokens, sample_rate_hz: int | None = None, *, dtype: str
    ) -> list[Samples]: ...

    def decode(
        self,
        tokens: TokensLike | ManyTokens,
        sample_rate_hz: int | None = None,
        dtype: str = "float32",
    ) -> Samples | list[Samples]:
        """Turn tokens into audio.

        Args:
            tokens: one utterance, integers [K, T], as nested lists or an array of any library that NumPy can
                view; or a list of utterances of any lengths.
            sample_rate_hz: of the audio; the codec's own if None (another one needs the audio extra).
            dtype: type of the samples: ``float32``; or ``int16``, ``mulaw`` or ``alaw`` (G.711, UINT8), which
                are clipped to -1..1.

        Returns:
            Audio FP32 [T * samples_per_frame], or [C, T * samples_per_frame] for a codec with C > 1 channels,
            nominally within -1..1 (a codec may exceed this a little); a list of audio for a list of
            utterances.

        Raises:
            TokensError: wrong shape or type, no frames, or a token out of range; nothing was sent. For a
                list, the message says which utterance is wrong, and ``utterance`` is its index.
            AudioFormatError: there is no such dtype or rate; the message lists what there is.
            MissingExtraError: the rate must be converted, and the audio extra is not installed.
            CodecNotOpenError: the codec was closed.
            RepositoryError: in this process, a file of the model is missing or damaged.
            ServerRefusedError: the server, or the model in this process, failed on the request.
            ServerUnavailableError: the server does not answer, or the connection broke.
        """
        with self._reports_closing():
            return run(self._decode(tokens, sample_rate_hz, dtype))  # type: ignore[no-any-return]

    @overload
    def encode(
        self,
        audio: AudioLike,
        sample_rate_hz: int,
        num_codebooks: int | None = None,
        dtype: str = "float32",
    ) -> Tokens: ...

    @overload
    def encode(
        self,
        audio: ManyAudio,
        sample_rate_hz: int,
        num_codebooks: int | None = None,
        dtype: str = "float32",
    ) -> list[Tokens]: ...

    def encode(
        self,
        audio: AudioLike | ManyAudio,
        sample_rate_hz: int,
        num_codebooks: int | None = None,
        dtype: str = "float32",
    ) -> Tokens | list[Tokens]:
        """Turn audio into tokens. An incomplete last frame is padded with silence.

        Args:
            audio: one utterance, floats [S] within -1..1, as a list or an array of any library that NumPy can
                view; or a list of utterances of any lengths. A codec with C > 1 channels takes [C, S], as an
                array or nested lists; it copies audio [S] to each channel. Arrays in a list are utterances.
            sample_rate_hz: of the audio; the client converts a rate that is not the encoder's (audio extra).
            num_codebooks: number K of codebooks, for codecs with a choice; the codec's default if None.
            dtype: type of the samples that are given, as of :meth:`decode`.

        Returns:
            Tokens INT64 [K, T], T = ceil(S / info.encode_samples_per_frame), with S counted at
            ``info.encode_sample_rate_hz``; a list of tokens for a list of utterances.

        Raises:
            AudioError: wrong shape, type or sample rate, unknown dtype, too short, or not finite; nothing was
                sent. For a list, the message says which utterance is wrong, and ``utterance`` is its index.
            TokensError: the codec cannot encode into ``num_codebooks`` codebooks; nothing was sent.
            CodecNotOpenError: the codec was closed.
            MissingExtraError: the rate must be converted, and the audio extra is not installed.
            RepositoryError: in this process, a file of the model is missing or damaged.
            ServerRefusedError: the server, or the model in this process, failed on the request.
            ServerUnavailableError: the server does not answer, or the connection broke.
        """
        with self._reports_closing():
            return run(self._encode(audio, sample_rate_hz, num_codebooks, dtype))  # type: ignore[no-any-return]

    @overload
    def decode_stream(
        self,
        prefix: TokensLike | None = None,
        sample_rate_hz: int | None = None,
        dtype: Float32 = "float32",
    ) -> Stream[np.float32]: ...

    @overload
    def decode_stream(
        self, prefix: TokensLike | None = None, sample_rate_hz: int | None = None, *, dtype: str
    ) -> Stream[Any]: ...

    def decode_stream(
        self,
        prefix: TokensLike | None = None,
        sample_rate_hz: int | None = None,
        dtype: str = "float32",
    ) -> Stream[Any]:
        """Start an utterance: push tokens [K, T] of any T, or one frame [K], and get audio FP32 [S].

        For a codec with C > 1 channels it is [C, S]. A decoder that looks ahead gives its audio
        ``info.lookaround_frames`` frames late; :meth:`Stream.close` returns the rest.

        Args:
            prefix: tokens [K, T] that come before the utterance, such as those of a voice that is cloned.
                They are sent at once, and their sound is left out; what follows is what it would be in the
                whole.
            sample_rate_hz: as of :meth:`decode`. Another rate makes the audio later: :attr:`Stream.delay_ms`.
            dtype: as of :meth:`decode`.

        Raises:
            AudioFormatError, MissingExtraError: as of :meth:`decode`.
            CodecNotOpenError: the codec was closed.
            TokensError: the prefix has a wrong shape or type, no frames, or a token out of range.
            ServerFullError, ServerRefusedError, ServerUnavailableError: as of :meth:`Stream.push`, if there
                is a prefix.
        """
        return Stream(self._new_decode_stream(prefix, sample_rate_hz, dtype))

    def encode_stream(
        self, sample_rate_hz: int, num_codebooks: int | None = None, dtype: str = "float32"
    ) -> Stream[np.int64]:
        """Start an utterance: push audio [S] or [C, S] of any length and get tokens INT64 [K, T]; T may be 0.

        :meth:`Stream.close` pads an incomplete last frame with silence. An encoder that looks ahead gives its
        tokens late. Arguments as of :meth:`encode`.

        Raises:
            AudioError: the sample rate is not a positive integer, or there is no such dtype.
            TokensError: the codec cannot encode into ``num_codebooks`` codebooks.
            CodecNotOpenError: the codec was closed.
            MissingExtraError: the rate must be converted, and the audio extra is not installed.
        """
        return Stream(self._new_encode_stream(sample_rate_hz, num_codebooks, dtype))

    def stream(
        self,
        tokens: Iterable[ArrayLike],
        first: int | None = None,
        then: int | None = None,
        prefix: TokensLike | None = None,
        sample_rate_hz: int | None = None,
        dtype: str = "float32",
    ) -> Generator[Samples, None, None]:
        """Decode tokens as ``tokens`` yields them, and yield audio [S] or [C, S], which is never empty.

        Closing the iterator ends the stream. Errors are those of :meth:`Stream.push`; StreamBusyError if two
        threads ask the iterator at once.

        Args:
            tokens: items as for :meth:`decode_stream`, of any number of frames each.
            first: frames in the first request; by default each item is sent as it comes.
            then: frames in later requests, which grow to it by doubling from ``first``.
            prefix: as of :meth:`decode_stream`.
            sample_rate_hz: as of :meth:`decode`.
            dtype: as of :meth:`decode`.

        Raises:
            ChunkPlanError: ``first`` or ``then`` is not a positive integer, or ``then`` is the smaller.
        """
        frames, stream = self._planned(first, then), self._new_decode_stream(prefix, sample_rate_hz, dtype)
        return AudioIterator(_pieces(frames, stream, tokens))


def _pieces(
    frames: PlannedFrames, handle: StreamHandle, tokens: Iterable[ArrayLike]
) -> Generator[Samples, None, None]:
    stream: Stream[Any] = Stream(handle)
    with stream:
        for chunk in frames.chunks(tokens):
            audio = stream.push(chunk)
            if audio.shape[-1]:
                yield audio
        rest = stream.close()
        if rest.shape[-1]:
            yield rest
