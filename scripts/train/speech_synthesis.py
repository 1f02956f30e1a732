"""Speech of two free synthesizers, flite and eSpeak NG, in several voices.

Their output is free of any claim: it is made from this repository's own text, in the public domain.
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
    "spoken",
]

RATE_HZ = 22050
SPEECH = Path("artifacts/speech")
"""Where what has been spoken is kept."""
_INT16 = 32767
_LOUDNESS, _SILENCE = 0.08, 1e-6
_PACES = (0.9, 1.0, 1.12)

Audio: TypeAlias = NDArray[np.float32]


class SynthesizerError(RuntimeError):
    """A speech synthesizer is missing or failed."""


@dataclass(frozen=True)
class Voice:
    """One voice of a synthesizer; ``package`` is Debian's name of it."""

    name: str
    package: Literal["flite", "espeak-ng"]
    spoken_as: str

    def command(self, text: str, pace: float, path: Path) -> list[str]:
        """Says ``text`` into a WAV file, ``pace`` times as long as usual."""
        if self.package == "flite":
            stretch = ("--setf", f"duration_stretch={pace}")
            return ["flite", "-voice", self.spoken_as, *stretch, "-t", text, "-o", str(path)]
        return ["espeak-ng", "-v", self.spoken_as, "-s", str(round(150 / pace)), "-w", str(path), text]


VOICES = (
    Voice("flite_slt", "flite", "slt"),
    Voice("flite_rms", "flite", "rms"),
    Voice("flite_kal", "flite", "kal16"),
    Voice("espeak_us", "espeak-ng", "en-us"),
    Voice("espeak_gb", "espeak-ng", "en-gb+f3"),
)
UNSEEN_VOICE = Voice("flite_awb", "flite", "awb")
"""Never trained on."""


@dataclass(frozen=True)
class Synthesizer:
    """A voice that speaks sentences into a folder, once each."""

    voice: Voice
    folder: Path

    def __call__(self, text: str) -> Audio:
        """[S] at ``RATE_HZ``, at an even loudness; its pace depends on the text.

        Raises:
            SynthesizerError: says which package is missing, or what the synthesizer said.
        """
        digest = hashlib.sha256(text.encode()).digest()
        path = self.folder / self.voice.name / f"{digest.hex()[:20]}.npy"
        if path.exists():
            return _float(np.load(path))
        audio = self._synthesize(text, _PACES[digest[0] % len(_PACES)])
        path.parent.mkdir(parents=True, exist_ok=True)
        stored = np.clip(np.rint(audio * _INT16), -_INT16, _INT16).astype(np.int16)
        with tempfile.NamedTemporaryFile(dir=path.parent, suffix=".npy", delete=False) as partial:
            np.save(partial, stored)
        Path(partial.name).rename(path)
        return _float(stored)

    def _synthesize(self, text: str, pace: float) -> Audio:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "speech.wav"
            command = self.voice.command(text, pace, path)
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


def spoken(voice: Voice, texts: Sequence[str], folder: Path) -> list[Audio]:
    """Every text in that voice, two at a time."""
    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(Synthesizer(voice, folder), texts))
