"""Qwen3-TTS's 12 Hz tokenizer, decoding: with the calls of the package, and of the serving engines' stage.

Change one line, and give the address of a server or a folder of models in place of the checkpoint::

    from tritone_client.qwen3 import Qwen3TokenizerDecoder

    decoder = Qwen3TokenizerDecoder(url="127.0.0.1:8001")
    wavs, sample_rate = decoder.decode([{"audio_codes": codes}])  # as Qwen3TTSTokenizer.decode
    with decoder.stream(reference_codes) as stream:  # as the decoder stage of vllm-omni and sglang-omni
        sound = stream.push(new_codes)  # [T, 16] -> FP32 [T * 1920]

Calls and codes are those of qwen-tts 0.1.1 (qwen_tts/inference/qwen3_tts_tokenizer.py, core/tokenizer_12hz),
vllm-omni 0.30.0 and sglang-omni 0.1.9 (models/qwen3_tts). Unlike theirs, a stream equals the whole decode.
"""

from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from tritone_client.codec import Codec
from tritone_client.codec_models import Endpoints
from tritone_client.errors import TokensError
from tritone_client.info import CodecInfo
from tritone_client.inputs.arrays import ArrayLike, as_array
from tritone_client.inputs.checks import all_checked, checked_tokens

__all__ = ["END_OF_SPEECH", "Qwen3TokenizerDecoder", "Qwen3TokenizerStream", "frames_of_payload"]

Audio: TypeAlias = NDArray[np.float32]
Codes: TypeAlias = NDArray[np.int64]

END_OF_SPEECH = 2150
"""The talker's ``codec_eos_token_id``; in codebook 0 it ends an utterance."""
_PADDING = -1
_BATCH_AXES = 3
_CODES = "codes are [T, 16] or [B, T, 16], integers"


class Qwen3TokenizerDecoder:
    """Decodes whole utterances and live streams; a context manager.

    Codes are frames [T, 16] of numbers 0..2047. An utterance ends before the first frame whose codebook 0
    holds :data:`END_OF_SPEECH`. Frames of -1 at the end, which pad a batch, are left out. Other codes out of
    range are refused.

    Args:
        codec: name of the codec.
        url: host and gRPC port of a server, several of them, or the ``Path`` of a model repository to run in
            this process.
        timeout_s: longest wait for one answer of a server.

    Raises:
        TritoneError: as of :class:`tritone_client.Codec`.
    """

    def __init__(
        self, codec: str = "qwen3_tts_12hz", url: Endpoints = "127.0.0.1:8001", timeout_s: float = 120.0
    ):
        self._codec = Codec(codec, url, timeout_s)

    @property
    def sample_rate(self) -> int:
        """Sample rate in Hz."""
        return self._codec.info.sample_rate_hz

    @property
    def total_upsample(self) -> int:
        """Samples per frame."""
        return self._codec.info.samples_per_frame

    def get_output_sample_rate(self) -> int:
        """Sample rate in Hz, under the package's name."""
        return self.sample_rate

    def get_decode_upsample_rate(self) -> int:
        """Samples per frame, under the package's name."""
        return self.total_upsample

    def decode(
        self, encoded: Any, reference_codes: ArrayLike | Sequence[Sequence[int]] | None = None
    ) -> tuple[list[Audio], int]:
        """Decode utterances, as ``Qwen3TTSTokenizer.decode`` does.

        Args:
            encoded: codes [T, 16] of one utterance, or [B, T, 16] padded with -1; or a list of [T, 16]; or a
                mapping or an object with one of these as ``audio_codes``; or a list of these.
            reference_codes: codes [T, 16] of a voice that is cloned. Every utterance is decoded behind them,
                and their sound is left out.

        Returns:
            Audio FP32 [T * 1920] of each utterance, and the sample rate in Hz.

        Raises:
            TokensError: an utterance or the reference has no frames, or codes of another shape or out of
                range; nothing was sent. ``utterance`` is the index of the wrong one.
            ServerRefusedError, ServerUnavailableError: as of :meth:`tritone_client.Codec.decode`.
        """
        prefix = self._reference(reference_codes)
        spoken = _all_spoken(_utterances(encoded), self._codec.info)
        audio = self._codec.decode([np.concatenate([prefix, each]).T for each in spoken])
        return [each[len(prefix) * self.total_upsample :] for each in audio], self.sample_rate

    def stream(
        self, reference_codes: ArrayLike | Sequence[Sequence[int]] | None = None
    ) -> "Qwen3TokenizerStream":
        """Open a live stream behind ``reference_codes`` [T, 16], whose sound is left out.

        Raises:
            TokensError: the reference has no frames, or codes of another shape or out of range.
            ServerFullError, ServerRefusedError, ServerUnavailableError: as of
                :meth:`tritone_client.Stream.push`, if there is a reference.
        """
        return Qwen3TokenizerStream(self._codec, self._reference(reference_codes))

    def close(self) -> None:
        """Close the connection; open streams go on."""
        self._codec.close()

    def __enter__(self) -> "Qwen3TokenizerDecoder":
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.close()

    def _reference(self, codes: ArrayLike | Sequence[Sequence[int]] | None) -> Codes:
        info = self._codec.info
        if codes is None:
            return np.zeros((0, info.num_codebooks), np.int64)
        try:
            return _spoken(codes, info)
        except TokensError as error:
            raise TokensError(f"the reference: {error}") from error


class Qwen3TokenizerStream:
    """One live utterance: codes of new frames in, audio out; a context manager."""

    def __init__(self, codec: Codec, prefix: Codes):
        self._books, self._ended = codec.info.num_codebooks, False
        self._stream = codec.decode_stream(prefix.T if len(prefix) else None)

    @property
    def ended(self) -> bool:
        """Whether :data:`END_OF_SPEECH` came; later codes are left out."""
        return self._ended

    def push(self, codes: ArrayLike | Sequence[Sequence[int]] | Sequence[int]) -> Audio:
        """Decode the next frames.

        Args:
            codes: integers [T, 16], or [16] for one frame. Here -1 is refused: a stream needs no padding.

        Returns:
            Audio FP32 [T * 1920]; shorter, or empty, if the utterance ends in these frames.

        Raises:
            TokensError: codes of another shape or out of range; nothing was sent, and the stream goes on.
            StreamClosedError: the stream was closed before the end of speech.
            ServerFullError, StreamLostError, ServerRefusedError, ServerUnavailableError: as of
                :meth:`tritone_client.Stream.push`.
        """
        given = as_array(codes, _CODES, TokensError)
        frames, ends = _until_end(given[None] if given.ndim == 1 else given, self._books)
        if self._ended:
            return np.zeros(0, np.float32)
        audio = np.zeros(0, np.float32) if ends and not len(frames) else self._stream.push(frames.T)
        if ends:  # frees the stream's place; a causal decoder holds nothing back
            self._stream.close()
            self._ended = True
        return audio

    def close(self) -> None:
        """End the utterance."""
        self._stream.close()

    def __enter__(self) -> "Qwen3TokenizerStream":
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: BaseException | TracebackType | None) -> None:
        self._stream.__exit__(kind, *rest)


def frames_of_payload(flat: ArrayLike | Sequence[int], num_codebooks: int = 16) -> Codes:
    """Frames INT64 [T, 16] of vllm-omni's payload ``codes.audio``, which holds one codebook after the other.

    Raises:
        TokensError: it is not flat, its codes are no integers, or not as many for each codebook.
    """
    codes = as_array(flat, "a payload is a flat array of codes, integers", TokensError)
    if codes.size and (codes.ndim != 1 or codes.dtype.kind not in "iu"):
        raise TokensError(
            f"a payload is a flat array of codes, integers, got {codes.dtype} {list(codes.shape)}"
        )
    if codes.size % num_codebooks:
        raise TokensError(
            f"a payload has the same number of codes for each of {num_codebooks} codebooks, got {codes.size}"
        )
    return codes.reshape(num_codebooks, -1).T.astype(np.int64)


def _utterances(encoded: Any) -> list[Any]:
    """The codes [T, 16] of each utterance."""
    if isinstance(encoded, Mapping):
        if "audio_codes" not in encoded:
            raise TokensError(f"encoded speech has 'audio_codes', got {', '.join(map(str, encoded))}")
        return _utterances(encoded["audio_codes"])
    if hasattr(encoded, "audio_codes"):
        return _utterances(encoded.audio_codes)
    if isinstance(encoded, list | tuple) and not _is_frames(encoded):
        return [one for each in encoded for one in _utterances(each) or [each]]
    codes = as_array(encoded, _CODES, TokensError)
    return list(codes) if codes.ndim == _BATCH_AXES else [codes]


def _is_frames(items: Sequence[Any]) -> bool:
    """Whether a list holds frames, and not utterances."""
    first: Any = next((each for each in items if not hasattr(each, "__len__") or len(each)), None)
    if isinstance(first, list | tuple):
        return not hasattr(first[0], "__len__")
    return first is not None and getattr(first, "ndim", _BATCH_AXES) < 2  # noqa: PLR2004 - an utterance has two


def _all_spoken(utterances: Sequence[Any], info: CodecInfo) -> list[Codes]:
    """The frames of all utterances, checked; ``utterance`` of the error says which one is wrong."""
    if not utterances:
        raise TokensError("no utterances; give codes of one at least")
    try:
        return all_checked(utterances, lambda each: _spoken(each, info))
    except TokensError as error:
        error.utterance = error.utterance or 0
        raise


def _spoken(codes: Any, info: CodecInfo) -> Codes:
    """The frames of one utterance, checked, without padding and what follows its end."""
    frames, _ = _until_end(as_array(codes, _CODES, TokensError), info.num_codebooks)
    padding = (frames == _PADDING).all(1)
    count = len(frames) - int(padding[::-1].cumprod().sum())
    if not count:
        raise TokensError("no frames: the codes are only padding (-1), or end at once")
    return checked_tokens(frames[:count].T, info).T


def _until_end(codes: NDArray[Any], books: int) -> tuple[Codes, bool]:
    """The frames [T, 16] before the end of speech, and whether it came."""
    if codes.ndim != 2 or codes.shape[1] != books:  # noqa: PLR2004
        turned = codes.ndim == 2 and codes.shape[0] == books  # noqa: PLR2004
        hint = "; if they are [16, T], pass their transpose" if turned else ""
        raise TokensError(f"codes are [T, {books}], got {list(codes.shape)}{hint}")
    if codes.size and codes.dtype.kind not in "iu":
        raise TokensError(f"codes are integers, got {codes.dtype}")
    ends = np.flatnonzero(codes[:, 0] == END_OF_SPEECH)
    return codes[: ends[0] if len(ends) else len(codes)].astype(np.int64), bool(len(ends))
