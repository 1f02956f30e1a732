"""A codec on a Triton server: tokens to sound and sound to tokens."""

from collections.abc import Iterator, Sequence
from functools import cached_property
from itertools import islice
from types import TracebackType
from typing import Any, TypeAlias, overload

import numpy as np
from numpy.typing import NDArray

from tritone_client.audio import resampled
from tritone_client.checks import checked_audio, checked_tokens
from tritone_client.errors import ServerRefusedError, UnknownCodecError
from tritone_client.info import CodecInfo
from tritone_client.transport import Call, Transport
from tritone_client.windows import Window, windows

__all__ = ["Codec", "served_codecs"]

Audio: TypeAlias = NDArray[np.float32]
Tokens: TypeAlias = NDArray[np.int64]

_LONGEST_REQUEST_S = 16.0
"""Longer inputs go in pieces, which bounds the memory of the server."""


class Codec:
    """A codec that a server at ``url`` (host:port of its gRPC) serves; also a context manager.

    Everything about the codec is read from the server. The methods may be called from several
    threads.

    Args:
        name: of the codec, as in :func:`served_codecs`.
        url: host and gRPC port.
        timeout_s: longest wait for one answer.

    Raises:
        ServerUnavailableError: nobody answers there.
        UnknownCodecError: the server does not have the codec; the message lists those it has.
    """

    def __init__(self, name: str, url: str = "127.0.0.1:8001", timeout_s: float = 120.0):
        self.name, self._transport = name, Transport(url, timeout_s)
        try:
            self.info = self._read_info("decode")
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close the connection."""
        self._transport.close()

    def __enter__(self) -> "Codec":
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.close()

    @overload
    def decode(self, tokens: NDArray[Any]) -> Audio: ...

    @overload
    def decode(self, tokens: Sequence[NDArray[Any]]) -> list[Audio]: ...

    def decode(self, tokens: NDArray[Any] | Sequence[NDArray[Any]]) -> Audio | list[Audio]:
        """Turn tokens into audio.

        Args:
            tokens: integers [K, T], or a list of such, of any lengths.

        Returns:
            Audio FP32 [T * samples_per_frame] within -1..1, or a list of such.

        Raises:
            TokensError: wrong shape or type, no frames, or a token out of range; nothing was sent.
            ServerRefusedError, ServerUnavailableError: what the server did with it.
        """
        many = [tokens] if isinstance(tokens, np.ndarray) else tokens
        checked = [checked_tokens(each, self.info) for each in many]
        plans = [self._windows(each.shape[1], self.info) for each in checked]
        calls = [
            self._decode_call(each[:, window.send_start : window.send_stop])
            for each, plan in zip(checked, plans, strict=True)
            for window in plan
        ]
        hop = self.info.samples_per_frame
        pieces = self._transport.results(calls, "audio")
        joined: list[Audio] = [_joined(pieces, plan, hop) for plan in plans]
        return joined[0] if isinstance(tokens, np.ndarray) else joined

    @overload
    def encode(self, audio: NDArray[Any], sample_rate_hz: int) -> Tokens: ...

    @overload
    def encode(self, audio: Sequence[NDArray[Any]], sample_rate_hz: int) -> list[Tokens]: ...

    def encode(
        self, audio: NDArray[Any] | Sequence[NDArray[Any]], sample_rate_hz: int
    ) -> Tokens | list[Tokens]:
        """Turn audio into tokens; a last frame that is not full is filled up with silence.

        Args:
            audio: floats [S] within -1..1, one channel, or a list of such, of any lengths.
            sample_rate_hz: of the audio; another than the codec's is converted (audio extra).

        Returns:
            Tokens INT64 [K, T], T = ceil(S / samples_per_frame), or a list of such.

        Raises:
            AudioError: wrong shape or type, too short, or not finite; nothing was sent.
            MissingExtraError: another sample rate without the audio extra.
            ServerRefusedError, ServerUnavailableError: what the server did with it.
        """
        info = self._encode_info
        many = [audio] if isinstance(audio, np.ndarray) else audio
        checked = [checked_audio(each, sample_rate_hz, info, resampled) for each in many]
        hop = info.samples_per_frame
        plans = [self._windows(-(-len(each) // hop), info) for each in checked]
        calls = [
            self._encode_call(each[window.send_start * hop : window.send_stop * hop])
            for each, plan in zip(checked, plans, strict=True)
            for window in plan
        ]
        pieces = self._transport.results(calls, "tokens")
        joined: list[Tokens] = [_joined(pieces, plan, 1) for plan in plans]
        return joined[0] if isinstance(audio, np.ndarray) else joined

    @cached_property
    def _encode_info(self) -> CodecInfo:
        return self._read_info("encode")

    def _read_info(self, role: str) -> CodecInfo:
        model = f"{self.name}_{role}"
        try:
            parameters = self._transport.parameters(model)
        except ServerRefusedError as error:
            served = _codecs_among(self._transport.ready_models())
            raise UnknownCodecError(self.name, self._transport.url, served) from error
        return CodecInfo.from_parameters(self.name, model, parameters)

    def _windows(self, frames: int, info: CodecInfo) -> list[Window]:
        longest = max(1, int(_LONGEST_REQUEST_S * info.frame_rate_hz))
        return windows(frames, longest, info.lookaround_frames, info.causal)

    def _decode_call(self, tokens: Tokens) -> Call:
        length = np.array([[tokens.shape[1]]], dtype=np.int64)
        return f"{self.name}_decode", {"tokens": tokens[None], "tokens_len": length}

    def _encode_call(self, audio: Audio) -> Call:
        length = np.array([[len(audio)]], dtype=np.int64)
        return f"{self.name}_encode", {"audio": audio[None], "audio_len": length}


def served_codecs(url: str = "127.0.0.1:8001", timeout_s: float = 10.0) -> list[str]:
    """Names of the codecs that the server decodes; ServerUnavailableError when nobody answers."""
    transport = Transport(url, timeout_s)
    try:
        return _codecs_among(transport.ready_models())
    finally:
        transport.close()


def _codecs_among(models: Sequence[str]) -> list[str]:
    return sorted(name.removesuffix("_decode") for name in models if name.endswith("_decode"))


def _joined(pieces: Iterator[NDArray[Any]], plan: Sequence[Window], steps: int) -> NDArray[Any]:
    """Kept parts of the next ``len(plan)`` answers, joined; ``steps`` is output steps per frame."""
    kept = []
    for window, piece in zip(plan, islice(pieces, len(plan)), strict=True):
        start, stop = window.kept
        kept.append(piece[0, ..., start * steps : stop * steps])
    return np.concatenate(kept, axis=-1)
