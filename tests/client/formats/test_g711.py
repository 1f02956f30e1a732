"""The codes of telephony, against figures of ITU-T G.711."""

import numpy as np
import pytest

from tritone_client.formats.g711 import LAWS, codes_of, samples_of

CODES = np.arange(256, dtype=np.uint8)
ALL = np.arange(-(1 << 15), 1 << 15).astype(np.int16)


@pytest.mark.parametrize(
    ("law", "codes"),
    [
        ("mulaw", {0: 0xFF, -1: 0x7F, 4: 0xFE, 1000: 0xCE, -1000: 0x4E, 32767: 0x80, -32768: 0x00}),
        ("alaw", {0: 0xD5, -1: 0x55, 16: 0xD4, 1000: 0xFA, -1000: 0x7A, 32767: 0xAA, -32768: 0x2A}),
    ],
)
def test_samples_have_the_codes_of_the_standard(law: str, codes: dict[int, int]) -> None:
    assert {sample: int(codes_of(np.array([sample], np.int16), law)[0]) for sample in codes} == codes


@pytest.mark.parametrize(
    ("law", "samples"),
    [
        ("mulaw", {0x80: 32124, 0x00: -32124, 0xFF: 0, 0x7F: 0, 0xEF: 132, 0x6F: -132, 0xF0: 120}),
        ("alaw", {0xAA: 32256, 0x2A: -32256, 0xD5: 8, 0x55: -8, 0xC5: 264, 0x45: -264}),
    ],
)
def test_codes_are_the_samples_of_the_standard(law: str, samples: dict[int, int]) -> None:
    assert {code: int(samples_of(np.array([code], np.uint8), law)[0]) for code in samples} == samples


@pytest.mark.parametrize("law", LAWS)
def test_codes_come_back_and_samples_stay_within_a_step(law: str) -> None:
    again = codes_of(samples_of(CODES, law), law)
    assert CODES[again != CODES].tolist() == ([0x7F] if law == "mulaw" else [])  # the negative zero
    found = samples_of(codes_of(ALL, law), law).astype(int)
    assert (np.diff(found) >= 0).all()
    assert (np.abs(found - ALL) <= np.maximum(np.abs(ALL.astype(int)) / 16, 16)).all()
