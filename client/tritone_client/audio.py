"""Audio files and sample rates; needs the ``audio`` extra."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tritone_client.errors import AudioError, MissingExtraError

__all__ = ["read_audio", "resampled", "resampling", "write_audio"]


def resampled(audio: NDArray[np.float32], from_hz: int, to_hz: int) -> NDArray[np.float32]:
    """Audio [S] at another rate, if it is another; MissingExtraError without soxr."""
    if from_hz == to_hz:
        return audio
    try:
        import soxr
    except ImportError as error:
        raise MissingExtraError(f"converting {from_hz} Hz to {to_hz} Hz") from error
    converted: NDArray[np.float32] = soxr.resample(audio, from_hz, to_hz)
    return converted


def read_audio(path: Path) -> tuple[NDArray[np.float32], int]:
    """First to last sample [S] of any file that libsndfile reads, channels averaged, and its rate in Hz.

    Raises:
        AudioError: missing, or not an audio file.
        MissingExtraError: without soundfile.
    """
    try:
        import soundfile
    except ImportError as error:
        raise MissingExtraError("reading audio files") from error
    if not path.is_file():
        raise AudioError(f"{path} is no file")
    try:
        samples, rate_hz = soundfile.read(path, dtype="float32", always_2d=True)
    except soundfile.LibsndfileError as error:
        raise AudioError(f"{path} is not an audio file that can be read: {error}") from error
    mixed: NDArray[np.float32] = samples.mean(axis=1, dtype=np.float32)
    return mixed, int(rate_hz)


def write_audio(path: Path, audio: NDArray[np.float32], sample_rate_hz: int) -> None:
    """Write [S] in the format of the file's ending; AudioError names an ending that is unknown."""
    try:
        import soundfile
    except ImportError as error:
        raise MissingExtraError("writing audio files") from error
    try:
        soundfile.write(path, audio, sample_rate_hz)
    except (soundfile.LibsndfileError, ValueError, TypeError) as error:
        raise AudioError(f"{path} cannot be written: {error}; use an ending such as .wav or .flac") from error


def resampling(from_hz: int, to_hz: int) -> Callable[[NDArray[np.float32], bool], NDArray[np.float32]]:
    """A converter that remembers: give it chunks, the last one with True; MissingExtraError without soxr."""
    try:
        import soxr
    except ImportError as error:
        raise MissingExtraError(f"converting {from_hz} Hz to {to_hz} Hz") from error
    stream = soxr.ResampleStream(from_hz, to_hz, 1, dtype="float32")
    return lambda chunk, last: stream.resample_chunk(chunk, last=last)
