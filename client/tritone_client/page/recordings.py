"""Recordings: audio read from a file, and tokens kept for the live player."""

import secrets
from collections import OrderedDict
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tritone_client.errors import AudioError
from tritone_client.inputs.audio import read_audio

__all__ = ["LONGEST_S", "Recordings", "read_recording"]

LONGEST_S = 300
_KEPT = 16


class Recordings:
    """Tokens [K, T] under unguessable names; the newest few are kept."""

    def __init__(self) -> None:
        self._tokens: OrderedDict[str, NDArray[np.int64]] = OrderedDict()

    def keep(self, tokens: NDArray[np.int64]) -> str:
        """Keep tokens; their name."""
        name = secrets.token_urlsafe(12)
        self._tokens[name] = tokens
        while len(self._tokens) > _KEPT:
            self._tokens.popitem(last=False)
        return name

    def find(self, name: str) -> NDArray[np.int64] | None:
        """The tokens of that name; None if they are not kept, or not any more."""
        return self._tokens.get(name)


def read_recording(path: Path, channels: int) -> tuple[NDArray[np.float32], int]:
    """Audio FP32 for a codec with that many channels, and its rate in Hz; see :func:`read_audio`.

    Raises:
        AudioError: the file is not audio, or too long for the page.
    """
    import soundfile

    try:
        seconds = soundfile.info(path).duration
    except soundfile.LibsndfileError as error:
        raise AudioError(
            f"{path.name} is not an audio file that can be read: {error.error_string}"
        ) from error
    if seconds > LONGEST_S:
        raise AudioError(
            f"{path.name} is {seconds / 60:.0f} minutes long, the page takes up to {LONGEST_S // 60}; "
            "for longer files use: tritone encode"
        )
    return read_audio(path, channels)
