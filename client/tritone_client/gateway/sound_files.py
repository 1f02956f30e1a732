"""Audio files in memory, read within a limit and written as WAV, FLAC or Opus."""

import io
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tritone_client.errors import MissingExtraError
from tritone_client.gateway.failures import TooLargeError
from tritone_client.gateway.sockets.opus import opus_rate
from tritone_client.inputs.audio import audio_of_file, resampled

__all__ = ["FILE_FORMATS", "audio_in_file", "sound_file"]

FILE_FORMATS = {
    "audio/wav": ("WAV", "PCM_16"),
    "audio/flac": ("FLAC", "PCM_16"),
    "audio/ogg": ("OGG", "OPUS"),
}
"""libsndfile's names of format and subtype for each media type."""
_BLOCK = 48_000
_MOST_SAMPLES_PER_S = 2 * 48_000
"""Of the longest file: silence of many channels at a high rate packs into few bytes, and fills the memory."""


def sound_file(
    audio: NDArray[np.float32], from_hz: int, rate_hz: int | None, file_format: tuple[str, str]
) -> bytes:
    """An audio file of audio [S] or [C, S] at ``from_hz``, written at ``rate_hz``, or at its own rate.

    Opus is written at a rate that it takes, the next higher one.
    """
    soundfile = _soundfile()
    kind, subtype = file_format
    to_hz = rate_hz or from_hz
    to_hz = opus_rate(to_hz) if subtype == "OPUS" else to_hz
    samples, file = resampled(audio, from_hz, to_hz).T, io.BytesIO()
    channels = 1 if samples.ndim == 1 else samples.shape[1]
    with soundfile.SoundFile(file, "w", to_hz, channels, subtype, format=kind) as written:
        for start in range(0, len(samples), _BLOCK):
            written.write(samples[start : start + _BLOCK])
    return file.getvalue()


def audio_in_file(data: bytes, channels: int, most_s: float) -> tuple[NDArray[np.float32], int]:
    """Audio and rate of a file, as of :func:`tritone_client.inputs.audio.audio_of_file`.

    Raises:
        TooLargeError: it is longer than ``most_s`` seconds, or has more samples than a stereo file of that
            length; its samples were not read.
    """
    soundfile = _soundfile()
    try:
        found = soundfile.info(io.BytesIO(data))
    except soundfile.LibsndfileError:
        found = None  # the reader says what it is instead
    if found is not None and found.frames > most_s * found.samplerate:
        seconds = found.frames / found.samplerate
        raise TooLargeError(f"a file has at most {most_s:g} s of audio, got {seconds:.0f} s; cut it")
    if found is not None and found.frames * found.channels > most_s * _MOST_SAMPLES_PER_S:
        samples = found.frames * found.channels
        raise TooLargeError(
            f"a file has at most {most_s * _MOST_SAMPLES_PER_S:.0f} samples in all its channels, got "
            f"{samples}; mix or resample it first"
        )
    return audio_of_file(data, "the body", channels)


def _soundfile() -> Any:
    try:
        import soundfile
    except ImportError as error:
        raise MissingExtraError("audio files") from error
    return soundfile
