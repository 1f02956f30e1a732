"""Audio as 16-bit numbers (PCM16), which takes half the bytes of FP32."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "AUDIO",
    "AUDIO_INT16",
    "FULL_SCALE",
    "computed_outputs",
    "full_scale_samples",
    "int16_of",
    "outputs_of",
]

AUDIO, AUDIO_INT16 = "audio", "audio_int16"
"""The output that graphs have, and the one that is made of it here."""
FULL_SCALE = 32767


def computed_outputs(wanted: Sequence[str]) -> list[str]:
    """The outputs of the graph of which the ``wanted`` ones are made."""
    return list(dict.fromkeys(AUDIO if name == AUDIO_INT16 else name for name in wanted))


def outputs_of(computed: Mapping[str, NDArray[Any]], wanted: Sequence[str]) -> dict[str, NDArray[Any]]:
    """The ``wanted`` outputs by name, from those that the graph computed."""
    return {name: int16_of(computed[AUDIO]) if name == AUDIO_INT16 else computed[name] for name in wanted}


def int16_of(audio: NDArray[Any]) -> NDArray[np.int16]:
    """INT16 round(clip(audio, -1, 1) * 32767) of audio FP32 of any shape."""
    scaled = np.clip(audio, np.float32(-1), np.float32(1)) * np.float32(FULL_SCALE)
    return np.asarray(np.rint(scaled), np.int16)


def full_scale_samples(audio: NDArray[np.int16]) -> int:
    """How many samples are at full scale: those that were clipped, or within rounding of it."""
    return int(np.count_nonzero(np.abs(audio) == FULL_SCALE))
