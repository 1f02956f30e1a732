"""Audio files and conversion of sample rates; both need the ``audio`` extra."""

import io
from collections.abc import Callable
from functools import lru_cache
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
    "resampler_delay_s",
    "resampling",
    "write_audio",
]


def resampled(audio: NDArray[np.float32], from_hz: int, to_hz: int) -> NDArray[np.float32]:
    """Audio [S] or [C, S] converted to the rate ``to_hz``; unchanged if the rates are equal.

    Raises:
        MissingExtraError: the audio extra is not installed.
    """
    if from_hz == to_hz:
        return audio
    try:
        import soxr
    except ImportError as error:
        raise MissingExtraError(f"converting {from_hz} Hz to {to_hz} Hz") from error
    converted: NDArray[np.float32] = soxr.resample(audio.T, from_hz, to_hz).T
    return np.ascontiguousarray(converted)


def read_audio(path: Path, channels: int = 1) -> tuple[NDArray[np.float32], int]:
    """Audio FP32 of any file that libsndfile reads, and its rate in Hz.

    Args:
        path: of the file.
        channels: of the codec that will take the audio.

    Returns:
        [S] for one channel: the mean of the file's channels. For more channels [C, S], or [S] of a file that
        has one channel.

    Raises:
        AudioError: the file is missing, or not an audio file, and the message says what it is instead; or it
            has a number of channels that the codec does not take.
        MissingExtraError: the audio extra is not installed.
    """
    if not path.is_file():
        raise AudioError(f"{path} is no file")
    with path.open("rb") as file:
        beginning = file.read(64)
    return _read(path, str(path), beginning, channels)


def audio_of_file(data: bytes, name: str, channels: int = 1) -> tuple[NDArray[np.float32], int]:
    """As :func:`read_audio`, for a file's content; ``name`` stands in messages."""
    return _read(io.BytesIO(data), name, data[:64], channels)


def _read(
    source: Path | BinaryIO, name: str, beginning: bytes, channels: int
) -> tuple[NDArray[np.float32], int]:
    soundfile = _soundfile("reading audio files")
    try:
        samples, rate_hz = soundfile.read(source, dtype="float32", always_2d=True)
    except (soundfile.LibsndfileError, TypeError) as error:
        reason = _instead(beginning) or error
        raise AudioError(f"{name} is not an audio file that can be read: {reason}") from error
    return _with_channels(samples, channels, name), int(rate_hz)


def _with_channels(samples: NDArray[np.float32], channels: int, name: str) -> NDArray[np.float32]:
    found = samples.shape[1]
    if channels == 1 or found == 1:
        mixed: NDArray[np.float32] = samples.mean(axis=1, dtype=np.float32)
        return mixed
    if found != channels:
        raise AudioError(
            f"{name} has {found} channels, the codec takes {channels}, or 1 for all of them; mix it first"
        )
    return np.ascontiguousarray(samples.T)


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
    """Write audio [S] or [C, S] in the format of the file's ending; AudioError for an unknown ending."""
    _write(path, audio, sample_rate_hz, None)


def audio_file(audio: NDArray[np.float32], sample_rate_hz: int, ending: str) -> bytes:
    """Content of an audio file in the format that ``ending`` names."""
    file = io.BytesIO()
    _write(file, audio, sample_rate_hz, ending)
    return file.getvalue()


def _write(target: Path | BinaryIO, audio: NDArray[np.float32], rate_hz: int, ending: str | None) -> None:
    soundfile = _soundfile("writing audio files")
    try:
        soundfile.write(target, audio.T, rate_hz, format=ending)
    except (soundfile.LibsndfileError, ValueError, TypeError) as error:
        name = target if isinstance(target, Path) else f"the format {ending}"
        raise AudioError(f"{name} cannot be written: {error}; use an ending such as .wav or .flac") from error


def resampling(
    from_hz: int, to_hz: int, channels: int = 1
) -> Callable[[NDArray[np.float32], bool], NDArray[np.float32]]:
    """A rate converter for a stream [S] or [C, S]: call it with each chunk, and with True for the last one.

    Raises:
        MissingExtraError: the audio extra is not installed.
    """
    try:
        import soxr
    except ImportError as error:
        raise MissingExtraError(f"converting {from_hz} Hz to {to_hz} Hz") from error
    stream = soxr.ResampleStream(from_hz, to_hz, channels, dtype="float32")
    return lambda chunk, last: stream.resample_chunk(np.ascontiguousarray(chunk.T), last=last).T


@lru_cache(maxsize=256)
def resampler_delay_s(from_hz: int, to_hz: int) -> float:
    """The longest time by which the output of :func:`resampling` is behind its input, in seconds.

    The converter works in blocks, so the delay goes up and down; it is measured, over a second of silence in
    pieces of a millisecond.

    Raises:
        MissingExtraError: the audio extra is not installed.
    """
    resample, piece = resampling(from_hz, to_hz), np.zeros(max(1, from_hz // 1000), np.float32)
    given = taken = 0
    longest = 0.0
    while given < from_hz:
        given += len(piece)
        longest = max(longest, given / from_hz - taken / to_hz)
        taken += len(resample(piece, False))
    return longest
