"""Audio files and conversion of sample rates; both need the ``audio`` extra."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from tritone_client.cli.file_kinds import AUDIO, kind_of
from tritone_client.errors import AudioError, MissingExtraError

__all__ = [
    "audio_file",
    "audio_of_file",
    "checked_format",
    "read_audio",
    "resampled",
    "resampling",
    "write_audio",
]


def resampled(audio: NDArray[np.float32], from_hz: int, to_hz: int) -> NDArray[np.float32]:
    """Audio [S] converted to the rate ``to_hz``; unchanged if the rates are equal. Needs the audio extra."""
    if from_hz == to_hz:
        return audio
    try:
        import soxr
    except ImportError as error:
        raise MissingExtraError(f"converting {from_hz} Hz to {to_hz} Hz") from error
    converted: NDArray[np.float32] = soxr.resample(audio, from_hz, to_hz)
    return converted


def read_audio(path: Path) -> tuple[NDArray[np.float32], int]:
    """Audio FP32 [S] of any file that libsndfile reads, with channels averaged, and its rate in Hz.

    Raises:
        AudioError: the file is missing, or not an audio file; the message says what it is instead.
        MissingExtraError: the audio extra is not installed.
    """
    if not path.is_file():
        raise AudioError(f"{path} is no file")
    with path.open("rb") as file:
        beginning = file.read(64)
    return _read(path, str(path), beginning)


def audio_of_file(data: bytes, name: str) -> tuple[NDArray[np.float32], int]:
    """As :func:`read_audio`, for a file's content; ``name`` stands in messages."""
    return _read(io.BytesIO(data), name, data[:64])


def _read(source: Path | BinaryIO, name: str, beginning: bytes) -> tuple[NDArray[np.float32], int]:
    soundfile = _soundfile("reading audio files")
    try:
        samples, rate_hz = soundfile.read(source, dtype="float32", always_2d=True)
    except (soundfile.LibsndfileError, TypeError) as error:
        reason = _instead(beginning) or error
        raise AudioError(f"{name} is not an audio file that can be read: {reason}") from error
    mixed: NDArray[np.float32] = samples.mean(axis=1, dtype=np.float32)
    return mixed, int(rate_hz)


def _soundfile(need: str) -> Any:
    try:
        import soundfile
    except ImportError as error:
        raise MissingExtraError(need) from error
    return soundfile


def _instead(beginning: bytes) -> str | None:
    """What a file is that is not an audio file; None if it is unknown."""
    kind = kind_of(beginning)
    if kind == "a NumPy array":
        return "it is a NumPy array, perhaps of tokens; 'tritone decode' makes audio of those"
    return None if kind in (None, AUDIO) else f"it is {kind}"


def checked_format(path: Path) -> None:
    """AudioError unless libsndfile can write the format that the file's ending names."""
    ending = path.suffix.removeprefix(".").upper()
    known = _soundfile("writing audio files").available_formats()
    if ending not in known or ending == "RAW":
        raise AudioError(
            f"{path} cannot be written: the ending of audio files is, for example, .wav or .flac"
        )


def write_audio(path: Path, audio: NDArray[np.float32], sample_rate_hz: int) -> None:
    """Write audio [S] in the format of the file's ending; AudioError for an unknown ending."""
    _write(path, audio, sample_rate_hz, None)


def audio_file(audio: NDArray[np.float32], sample_rate_hz: int, ending: str) -> bytes:
    """Content of an audio file in the format that ``ending`` names."""
    file = io.BytesIO()
    _write(file, audio, sample_rate_hz, ending)
    return file.getvalue()


def _write(target: Path | BinaryIO, audio: NDArray[np.float32], rate_hz: int, ending: str | None) -> None:
    soundfile = _soundfile("writing audio files")
    try:
        soundfile.write(target, audio, rate_hz, format=ending)
    except (soundfile.LibsndfileError, ValueError, TypeError) as error:
        name = target if isinstance(target, Path) else f"the format {ending}"
        raise AudioError(f"{name} cannot be written: {error}; use an ending such as .wav or .flac") from error


def resampling(from_hz: int, to_hz: int) -> Callable[[NDArray[np.float32], bool], NDArray[np.float32]]:
    """A rate converter for a stream: call it with each chunk, and with True for the last one.

    Raises:
        MissingExtraError: the audio extra is not installed.
    """
    try:
        import soxr
    except ImportError as error:
        raise MissingExtraError(f"converting {from_hz} Hz to {to_hz} Hz") from error
    stream = soxr.ResampleStream(from_hz, to_hz, 1, dtype="float32")
    return lambda chunk, last: stream.resample_chunk(chunk, last=last)
