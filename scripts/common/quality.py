"""Objective measures of speech quality.

STOI (Taal et al. 2011) from the package pystoi, wide-band PESQ (ITU-T P.862.2) from the package pesq, the
distance of log mel spectra, and the word error rate of PocketSphinx, an offline speech recognizer.
"""

import re
from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
import pocketsphinx
import torch
from numpy.typing import NDArray
from pystoi import stoi as pystoi

from scripts.train.losses import mel_distance
from tritone_client.inputs.audio import resampled

__all__ = ["WordErrors", "mel_db", "pesq_wb", "stoi", "word_errors"]

Audio = NDArray[np.float32]

_RECOGNIZER_HZ = 16000
_INT16 = 32767


def stoi(reference: Audio, degraded: Audio, rate_hz: int) -> float:
    """Short-time objective intelligibility, 0 to 1; both signals are [S]."""
    return float(pystoi(reference, degraded, rate_hz))


def pesq_wb(reference: Audio, degraded: Audio, rate_hz: int) -> float | None:
    """PESQ mean opinion score, 1.04 to 4.64; both signals are [S].

    None if the package pesq is not installed, since it needs a C compiler to install.
    """
    try:
        from pesq import pesq
    except ImportError:
        return None
    pair = (resampled(audio, rate_hz, _RECOGNIZER_HZ) for audio in (reference, degraded))
    return float(pesq(_RECOGNIZER_HZ, *pair, "wb"))


def mel_db(reference: Audio, degraded: Audio, rate_hz: int) -> float:
    """Mean distance of log mel spectra in dB; both signals are [S]."""
    return mel_distance(torch.from_numpy(degraded), torch.from_numpy(reference), rate_hz)


class WordErrors:
    """Word error rate of the recognizer over many sentences."""

    def __init__(self) -> None:
        self.errors, self.words = 0, 0

    def add(self, text: str, audio: Audio, rate_hz: int) -> None:
        """Count the errors of one sentence.

        Args:
            text: what was spoken.
            audio: the recording, [S].
            rate_hz: its sample rate.
        """
        reference = _words(text)
        self.errors += word_errors(reference, _words(_recognized(audio, rate_hz)))
        self.words += len(reference)

    @property
    def rate(self) -> float:
        """Errors per spoken word; may exceed 1."""
        return self.errors / self.words


def word_errors(reference: Sequence[str], hypothesis: Sequence[str]) -> int:
    """Edit distance: the fewest words to insert, delete or replace."""
    row = list(range(len(hypothesis) + 1))
    for count, word in enumerate(reference, 1):
        previous, row = row, [count]
        for place, other in enumerate(hypothesis):
            row.append(min(previous[place] + (word != other), previous[place + 1] + 1, row[place] + 1))
    return row[-1]


def _words(text: str) -> list[str]:
    return re.findall(r"[a-z']+", text.lower())


@cache
def _decoder() -> Any:
    return pocketsphinx.Decoder(samprate=_RECOGNIZER_HZ, loglevel="FATAL")


def _recognized(audio: Audio, rate_hz: int) -> str:
    samples = np.clip(resampled(audio, rate_hz, _RECOGNIZER_HZ), -1, 1) * _INT16
    decoder = _decoder()
    decoder.start_utt()
    decoder.process_raw(samples.astype(np.int16).tobytes(), full_utt=True)
    decoder.end_utt()
    hypothesis = decoder.hyp()
    return hypothesis.hypstr if hypothesis else ""
