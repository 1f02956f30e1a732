"""The output of a stream in the format that its caller asked for."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from tritone_client.errors import AudioFormatError
from tritone_client.formats.samples import (
    ARRAY_TYPES,
    checked_dtype,
    from_int16,
    full_scale_samples,
    int16_of,
)
from tritone_client.info import CodecInfo
from tritone_client.inputs.audio import resampled, resampler_delay_s, resampling
from tritone_client.inputs.checks import checked_rate

__all__ = ["AS_DECODED", "AUDIO_INT16", "AudioFormat", "AudioOutput", "StreamOutput", "TokenOutput"]

AUDIO_INT16 = "audio_int16"
"""The output of models with the parameter ``int16_output``: half the bytes of ``audio``."""


RATES_HZ = range(4_000, 192_001)
"""Sample rates other than a codec's own that audio is converted to."""


@dataclass(frozen=True)
class AudioFormat:
    """The format of decoded audio.

    Args:
        dtype: one of :data:`ARRAY_TYPES`.
        sample_rate_hz: of the audio; None for the codec's own.

    Raises:
        AudioFormatError: there is no such dtype or rate.
    """

    dtype: str = "float32"
    sample_rate_hz: int | None = None

    def __post_init__(self) -> None:
        checked_dtype(self.dtype)
        given = self.sample_rate_hz
        rate_hz = None if given is None else checked_rate(given)
        if rate_hz is not None and rate_hz not in RATES_HZ:
            raise AudioFormatError(
                f"decoded audio comes at the codec's rate or at {RATES_HZ[0]}..{RATES_HZ[-1]} Hz (8000, "
                f"16000, 24000, 44100 and 48000 are usual), got {given!r} Hz"
            )
        object.__setattr__(self, "sample_rate_hz", rate_hz)


AS_DECODED = AudioFormat()
"""FP32 at the codec's rate."""


class StreamOutput(Protocol):
    """What becomes of the answers of one stream.

    ``wire`` names the model's output, and ``empty`` is an answer without time steps. ``delay_s`` is what the
    conversion adds to the delay, and ``clipped`` counts samples at full scale.
    """

    wire: str
    empty: NDArray[Any]
    delay_s: float
    clipped: int

    def converted(self, answer: NDArray[Any], last: bool = False) -> NDArray[Any]:
        """The next part of the output; with ``last`` also what the conversion has held back."""

    def nothing(self) -> NDArray[Any]:
        """An output without time steps."""


class TokenOutput:
    """Tokens INT64 [K, T], of the first ``books`` codebooks."""

    wire, delay_s, clipped = "tokens", 0.0, 0

    def __init__(self, books: int):
        self.empty = np.zeros((books, 0), np.int64)

    def converted(self, answer: NDArray[Any], last: bool = False) -> NDArray[Any]:
        """The same tokens."""
        return answer

    def nothing(self) -> NDArray[Any]:
        """Tokens [K, 0]."""
        return self.empty.copy()


class AudioOutput:
    """Audio [S] or [C, S] at the rate and of the type of ``wanted``.

    INT16 comes from the model where it can give it and the rate stays; otherwise FP32 comes, and is converted
    here after the conversion of the rate.

    Args:
        info: of the decoder.
        wanted: the format of the output.
        has_int16: whether the model has the output ``audio_int16``.

    Raises:
        MissingExtraError: the rate must be converted, and the audio extra is not installed.
    """

    def __init__(self, info: CodecInfo, wanted: AudioFormat, has_int16: bool):
        self._info, self._dtype = info, wanted.dtype
        self._rate_hz = wanted.sample_rate_hz or info.sample_rate_hz
        self._resamples = self._rate_hz != info.sample_rate_hz
        in_int16 = has_int16 and self._dtype != "float32" and not self._resamples
        self.wire = AUDIO_INT16 if in_int16 else "audio"
        self.empty = np.zeros(info.audio_shape(0), np.int16 if in_int16 else np.float32)
        self.delay_s, self.clipped = 0.0, 0
        self._resample: Callable[[NDArray[np.float32], bool], NDArray[np.float32]] | None = None
        if self._resamples:
            self._resample = resampling(info.sample_rate_hz, self._rate_hz, info.num_channels)
            self.delay_s = resampler_delay_s(info.sample_rate_hz, self._rate_hz)

    def converted(self, answer: NDArray[Any], last: bool = False) -> NDArray[Any]:
        """The next part of the output; with ``last`` also what the conversion has held back."""
        return self._typed(answer if self._resample is None else self._resample(answer, last))

    def whole(self, audio: NDArray[Any]) -> NDArray[Any]:
        """All of an utterance."""
        return self._typed(resampled(audio, self._info.sample_rate_hz, self._rate_hz))

    def nothing(self) -> NDArray[Any]:
        """Audio [0] or [C, 0]."""
        return np.zeros(self._info.audio_shape(0), ARRAY_TYPES[self._dtype])

    def _typed(self, audio: NDArray[Any]) -> NDArray[Any]:
        if self._dtype == "float32":
            return audio
        linear = audio if audio.dtype == np.int16 else int16_of(audio)
        self.clipped += full_scale_samples(linear)
        return from_int16(linear, self._dtype)
