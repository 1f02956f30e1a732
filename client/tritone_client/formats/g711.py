"""The two codes of telephony, mu-law and A-law: 8 bits per sample (ITU-T G.711, tables 1 and 2).

Samples are INT16; the codes use their upper 14 bits (mu-law) or 12 bits (A-law). Negative samples are
complemented before the last bits are dropped, as in the reference code of ITU-T G.191.
"""

from functools import cache
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

__all__ = ["LAWS", "codes_of", "samples_of"]

Table: TypeAlias = NDArray[Any]

LAWS = ("mulaw", "alaw")
_MU_BIAS, _MU_MOST = 33, 8192 - 1
_ALL = np.arange(-(1 << 15), 1 << 15)


def codes_of(samples: NDArray[np.int16], law: str) -> NDArray[np.uint8]:
    """Codes UINT8 of samples INT16 of any shape."""
    found: NDArray[np.uint8] = _encoding(law)[samples.astype(np.int32) + (1 << 15)]
    return found


def samples_of(codes: NDArray[np.uint8], law: str) -> NDArray[np.int16]:
    """Samples INT16 of codes UINT8 of any shape."""
    found: NDArray[np.int16] = _decoding(law)[codes]
    return found


@cache
def _encoding(law: str) -> Table:
    """The code of each of the 65,536 samples, the lowest sample first."""
    magnitude, positive = np.where(_ALL < 0, ~_ALL, _ALL), _ALL >= 0
    if law == "mulaw":
        biased = np.minimum((magnitude >> 2) + _MU_BIAS, _MU_MOST)
        segment = _bits(biased) - 6
        code = (segment << 4) | (biased >> (segment + 1) & 0x0F)
        return np.asarray((code | (~positive << 7)) ^ 0xFF, np.uint8)
    linear = magnitude >> 4
    segment = np.maximum(_bits(linear) - 4, 0)
    code = (segment << 4) | (linear >> np.maximum(segment - 1, 0) & 0x0F)
    return np.asarray((code | (positive << 7)) ^ 0x55, np.uint8)


@cache
def _decoding(law: str) -> Table:
    """The sample of each of the 256 codes."""
    codes = np.arange(256)
    plain = codes ^ (0xFF if law == "mulaw" else 0x55)
    segment, step, first_bit = plain >> 4 & 7, plain & 0x0F, plain >> 7
    if law == "mulaw":
        magnitude = ((((step << 1) + _MU_BIAS) << segment) - _MU_BIAS) << 2
        return np.asarray(np.where(first_bit == 1, -magnitude, magnitude), np.int16)
    magnitude = (((step + 16 * (segment > 0)) << 4) + 8) << np.maximum(segment - 1, 0)
    return np.asarray(np.where(first_bit == 1, magnitude, -magnitude), np.int16)


def _bits(numbers: Table) -> Table:
    """How many bits each number has; 0 for 0."""
    return np.searchsorted(1 << np.arange(16), numbers, side="right")
