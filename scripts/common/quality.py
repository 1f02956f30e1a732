"""How good speech sounds after a codec, by measures that need no listener.

STOI (Taal et al. 2011), by pystoi; PESQ wide band (ITU-T P.862.2), by pesq; distance of log mel spectra;
and word error rate of PocketSphinx, an offline recognizer.
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
    """Intelligibility, 0 to 1; [S] both."""
    return float(pystoi(reference, degraded, rate_hz))


def pesq_wb(reference: Audio, degraded: Audio, rate_hz: int) -> float | None:
    """Mean opinion score, 1.04 to 4.64; [S] both; None where pesq, built by a C compiler, is missing."""
    try:
        from pesq import pesq
    except ImportError:
        return None
    pair = (resampled(audio, rate_hz, _RECOGNIZER_HZ) for audio in (reference, degraded))
    return float(pesq(_RECOGNIZER_HZ, *pair, "wb"))


def mel_db(reference: Audio, degraded: Audio, rate_hz: int) -> float:
    """Mean distance of log mel spectra in dB; [S] both."""
    return mel_distance(torch.from_numpy(degraded), torch.from_numpy(reference), rate_hz)


class WordErrors:
    """Errors of the recognizer over many sentences; ``rate`` is their share of the words said."""

    def __init__(self) -> None:
        self.errors, self.words = 0, 0

    def add(self, text: str, audio: Audio, rate_hz: int) -> None:
        """One sentence, as written and as heard."""
        said = _words(text)
        self.errors += word_errors(said, _words(_recognized(audio, rate_hz)))
        self.words += len(said)

    @property
    def rate(self) -> float:
        """May exceed 1."""
        return self.errors / self.words


def word_errors(said: Sequence[str], heard: Sequence[str]) -> int:
    """Fewest words to insert, delete or replace."""
    row = list(range(len(heard) + 1))
    for count, word in enumerate(said, 1):
        previous, row = row, [count]
        for place, other in enumerate(heard):
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
