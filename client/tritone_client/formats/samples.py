"""Types of samples: FP32, PCM16, and the codes of telephony; conversion from and to FP32.

+-----------+--------+--------------------------------------------------------------+
| dtype     | array  | samples                                                      |
+===========+========+==============================================================+
| float32   | FP32   | nominally within -1..1                                       |
| int16     | INT16  | out: round(clip(x, -1, 1) * 32767); in: x / 32768            |
| mulaw     | UINT8  | G.711 mu-law of the same INT16                               |
| alaw      | UINT8  | G.711 A-law of the same INT16                                |
+-----------+--------+--------------------------------------------------------------+
"""

from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from tritone_client.errors import AudioFormatError
from tritone_client.formats.g711 import LAWS, codes_of, samples_of

__all__ = [
    "ARRAY_TYPES",
    "Float32",
    "SampleType",
    "checked_dtype",
    "float32_of",
    "from_int16",
    "full_scale_samples",
    "int16_of",
]

SampleType: TypeAlias = Literal["float32", "int16", "mulaw", "alaw"]
Float32: TypeAlias = Literal["float32"]
ARRAY_TYPES: dict[str, Any] = {
    "float32": np.float32,
    "int16": np.int16,
    "mulaw": np.uint8,
    "alaw": np.uint8,
}
_FULL_SCALE = 32767


def checked_dtype(dtype: Any) -> str:
    """The name of a type of samples; AudioFormatError lists those there are."""
    if not isinstance(dtype, str) or dtype not in ARRAY_TYPES:
        raise AudioFormatError(f"dtype is one of {', '.join(ARRAY_TYPES)}, by name; got {dtype!r}")
    return dtype


def int16_of(audio: NDArray[Any]) -> NDArray[np.int16]:
    """INT16 round(clip(audio, -1, 1) * 32767) of audio FP32 of any shape."""
    scaled = np.clip(audio, np.float32(-1), np.float32(1)) * np.float32(_FULL_SCALE)
    return np.asarray(np.rint(scaled), np.int16)


def full_scale_samples(audio: NDArray[np.int16]) -> int:
    """How many samples are at full scale: those that were clipped, or within rounding of it."""
    return int(np.count_nonzero(np.abs(audio) == _FULL_SCALE))


def from_int16(audio: NDArray[np.int16], dtype: str) -> NDArray[Any]:
    """Audio INT16 as ``int16``, ``mulaw`` or ``alaw``."""
    return codes_of(audio, dtype) if dtype in LAWS else audio


def float32_of(samples: NDArray[Any], dtype: str) -> NDArray[np.float32]:
    """Audio FP32 within -1..1 of samples of a type that is not ``float32``, of any shape."""
    linear = samples_of(samples.astype(np.uint8), dtype) if dtype in LAWS else samples
    return linear.astype(np.float32) / np.float32(1 << 15)
