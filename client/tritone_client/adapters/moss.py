"""MOSS Audio Tokenizer with the tensors of its published ONNX files, on a server or in this process.

Code written for those files keeps its arrays: codes INT32 or INT64 with the codebook axis first, batches
padded to the longest row, and an array of lengths::

    from tritone_client.adapters.moss import MossTokenizer

    with MossTokenizer("moss", url="127.0.0.1:8001") as tokenizer:
        codes, codes_lengths = tokenizer.encode(input_values, n_quantizers=16)  # [nq, B, T], [B]
        audio, audio_lengths = tokenizer.decode(codes, codes_lengths)  # [B, C, S], [B]

C is the number of channels: 1, or 2 for MOSS-Audio-Tokenizer-v2 and -Nano. Names are those of
onnx/export_onnx.py in OpenMOSS/MOSS-Audio-Tokenizer (56df9ee). Here, the lengths of codes also count an
incomplete last frame, so that the codes cover every sample.
"""

from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from tritone_client.adapters.batches import audio_rows, lengths_of, padded, sizes_of
from tritone_client.codec import Codec
from tritone_client.codec_models import Endpoints
from tritone_client.errors import AudioError, TokensError
from tritone_client.inputs.arrays import ArrayLike, as_array

__all__ = ["MossTokenizer"]

Lengths = NDArray[np.int64]
_AXES = 3


class MossTokenizer:
    """Encodes and decodes batches; a context manager.

    Args:
        codec: name of the codec.
        url: host and gRPC port of a server, or the ``Path`` of a model repository to run in this process.
        timeout_s: longest wait for one answer of a server.

    Raises:
        TritoneError: as of :class:`tritone_client.Codec`.
    """

    def __init__(self, codec: str = "moss", url: Endpoints = "127.0.0.1:8001", timeout_s: float = 120.0):
        self._codec = Codec(codec, url, timeout_s)

    def encode(
        self,
        input_values: ArrayLike,
        input_lengths: ArrayLike | None = None,
        n_quantizers: int | None = None,
    ) -> tuple[NDArray[np.int64], Lengths]:
        """Encode audio to codes.

        Args:
            input_values: floats [B, C, S] at the codec's rate; with C = 1 a stereo codec copies the channel.
                A codec with one channel also takes [B, S].
            input_lengths: samples of each row [B]; by default the rows are complete.
            n_quantizers: number of codebooks; all by default.

        Returns:
            Codes INT64 [n_quantizers, B, T], 0 after a row's end, and the lengths in frames, INT64 [B].

        Raises:
            AudioError: the input has another shape, is too short or not finite; nothing was sent.
            TokensError: the codec does not have ``n_quantizers`` codebooks; nothing was sent.
            ServerRefusedError, ServerUnavailableError: as of :meth:`tritone_client.Codec.encode`.
        """
        channels = self._codec.info.num_channels
        expected = "input_values is [B, 1, S] or [B, S]" if channels == 1 else "input_values is [B, 2, S]"
        audio = as_array(input_values, f"{expected}, floating point", AudioError)
        if channels == 1 and audio.ndim == _AXES - 1:
            audio = audio[:, None]
        rows = audio_rows(audio, expected, input_lengths, channels)
        tokens = self._codec.encode(rows, self._codec.info.sample_rate_hz, n_quantizers)
        return padded(tokens).transpose(1, 0, 2), sizes_of(tokens)

    def decode(
        self, audio_codes: ArrayLike, audio_codes_lengths: ArrayLike | None = None
    ) -> tuple[NDArray[np.float32], Lengths]:
        """Decode codes to audio.

        Args:
            audio_codes: integers [nq, B, T], or [nq, T] for one row; fewer codebooks give coarser audio.
            audio_codes_lengths: frames of each row [B]; by default the rows are complete.

        Returns:
            Audio FP32 [B, C, S], silent after a row's end, and the lengths in samples, INT64 [B].

        Raises:
            TokensError: the codes have another shape or type, or are out of range; nothing was sent.
            ServerRefusedError, ServerUnavailableError: as of :meth:`tritone_client.Codec.decode`.
        """
        codes = as_array(audio_codes, "audio_codes is [nq, B, T] or [nq, T], integers", TokensError)
        if codes.ndim == _AXES - 1:
            codes = codes[:, None]
        if codes.ndim != _AXES:
            raise TokensError(f"audio_codes is [nq, B, T] or [nq, T], got {list(codes.shape)}")
        lengths = lengths_of(audio_codes_lengths, codes.shape[1], codes.shape[2], TokensError)
        audio = self._codec.decode([codes[:, row, :length] for row, length in enumerate(lengths)])
        batch = padded(audio)
        return batch if batch.ndim == _AXES else batch[:, None], sizes_of(audio)

    def close(self) -> None:
        """Close the connection."""
        self._codec.close()

    def __enter__(self) -> "MossTokenizer":
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.close()
