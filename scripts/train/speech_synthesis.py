"""Speech from two free synthesizers, flite and eSpeak NG, in several voices.

The audio is in the public domain, as is the text it is made from, which was written for this repository.
"""

import hashlib
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from tritone_client.inputs.audio import read_audio, resampled

__all__ = [
    "RATE_HZ",
    "SPEECH",
    "UNSEEN_VOICE",
    "VOICES",
    "Synthesizer",
    "SynthesizerError",
    "Voice",
    "synthesized",
]

RATE_HZ = 22050
SPEECH = Path("artifacts/speech")
"""Folder in which synthesized speech is cached."""
_INT16 = 32767
_LOUDNESS, _SILENCE = 0.08, 1e-6
_DURATION_STRETCHES = (0.9, 1.0, 1.12)

Audio: TypeAlias = NDArray[np.float32]


class SynthesizerError(RuntimeError):
    """A speech synthesizer is missing or failed."""


@dataclass(frozen=True)
class Voice:
    """A voice of a synthesizer.

    Attributes:
        name: ours.
        package: Debian package of the synthesizer.
        voice_id: the synthesizer's own name of the voice.
    """

    name: str
    package: Literal["flite", "espeak-ng"]
    voice_id: str

    def command(self, text: str, stretch: float, path: Path) -> list[str]:
        """The command that speaks ``text`` into a WAV file, ``stretch`` times as long as usual."""
        if self.package == "flite":
            options = ("--setf", f"duration_stretch={stretch}")
            return ["flite", "-voice", self.voice_id, *options, "-t", text, "-o", str(path)]
        return ["espeak-ng", "-v", self.voice_id, "-s", str(round(150 / stretch)), "-w", str(path), text]


VOICES = (
    Voice("flite_slt", "flite", "slt"),
    Voice("flite_rms", "flite", "rms"),
    Voice("flite_kal", "flite", "kal16"),
    Voice("espeak_us", "espeak-ng", "en-us"),
    Voice("espeak_gb", "espeak-ng", "en-gb+f3"),
)
UNSEEN_VOICE = Voice("flite_awb", "flite", "awb")
"""A voice that no training uses."""


@dataclass(frozen=True)
class Synthesizer:
    """Synthesizes sentences in one voice, and caches each in a folder."""

    voice: Voice
    folder: Path

    def __call__(self, text: str) -> Audio:
        """Audio [S] at ``RATE_HZ``, normalized in loudness; the speaking rate depends on the text.

        Raises:
            SynthesizerError: the program is missing or failed; the message names its package or error.
        """
        digest = hashlib.sha256(text.encode()).digest()
        path = self.folder / self.voice.name / f"{digest.hex()[:20]}.npy"
        if path.exists():
            return _float(np.load(path))
        audio = self._synthesize(text, _DURATION_STRETCHES[digest[0] % len(_DURATION_STRETCHES)])
        path.parent.mkdir(parents=True, exist_ok=True)
        stored = np.clip(np.rint(audio * _INT16), -_INT16, _INT16).astype(np.int16)
        with tempfile.NamedTemporaryFile(dir=path.parent, suffix=".npy", delete=False) as partial:
            np.save(partial, stored)
        Path(partial.name).rename(path)
        return _float(stored)

    def _synthesize(self, text: str, stretch: float) -> Audio:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "speech.wav"
            command = self.voice.command(text, stretch, path)
            if shutil.which(command[0]) is None:
                raise SynthesizerError(
                    f"{command[0]} is not installed; it speaks {self.voice.name}: "
                    f"install the package {self.voice.package} (apt install {self.voice.package})"
                )
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode or not path.exists():
                raise SynthesizerError(
                    f"{command[0]} failed on {text!r}: {done.stderr.strip() or 'no output'}"
                )
            audio = resampled(*read_audio(path), RATE_HZ)
        level = max(float(np.sqrt(np.mean(audio**2))), _SILENCE)
        return (audio * (_LOUDNESS / level)).astype(np.float32)


def _float(stored: NDArray[np.int16]) -> Audio:
    return stored.astype(np.float32) / np.float32(_INT16)


def synthesized(voice: Voice, texts: Sequence[str], folder: Path) -> list[Audio]:
    """Each text in this voice, two at a time, cached in ``folder``."""
    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(Synthesizer(voice, folder), texts))
