"""What a listener hears of utterances: first audio, gaps, and the start delay that would have avoided them.

All times count from the schedule: an utterance's from its scheduled arrival, a frame's from the moment at
which the language model emits it. A generator or a server that falls behind therefore shortens no figure.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import ceil, exp, inf, lgamma, log, log1p

import numpy as np
from numpy.typing import NDArray

__all__ = ["Heard", "Summary", "Timing", "gaps", "interval", "percentile", "playable_s", "summary_of"]

RESERVE_FRAMES = 1
"""Frames that the player has in hand: it waits this long after the first audio before it starts."""
_OUTSIDE = 0.025
"""Probability of each side outside of an interval with 95 % confidence."""
_HALVINGS = 50


@dataclass(frozen=True)
class Timing:
    """Of a codec's audio: seconds and samples per frame, and samples that the last frame lacks."""

    period_s: float
    samples_per_frame: int
    short_samples: int = 0


@dataclass
class Heard:
    """The audio of one utterance as it came.

    Attributes:
        frames: of the utterance.
        pieces: of audio, each as (seconds after the scheduled arrival, samples).
        error: why the utterance did not come to its end; None if it did.
    """

    frames: int
    pieces: list[tuple[float, int]] = field(default_factory=list)
    error: str | None = None

    def frames_at_s(self, timing: Timing) -> NDArray[np.float64]:
        """When each frame's audio was complete, FP64 [T], in s; infinite for frames that never came."""
        hop, totals = timing.samples_per_frame, np.cumsum([samples for _, samples in self.pieces])
        needed = np.minimum(hop * np.arange(1, self.frames + 1), hop * self.frames - timing.short_samples)
        times = np.array([at for at, _ in self.pieces] + [inf])
        found: NDArray[np.float64] = times[np.searchsorted(totals, needed)]
        return found


def gaps(frames_at_s: NDArray[np.float64], period_s: float, reserve_frames: int = RESERVE_FRAMES) -> int:
    """How often a player runs out of audio.

    It starts ``reserve_frames`` after the first frame [T], and after a gap it goes on when the next frame
    comes. A frame that never comes is one gap.
    """
    count, needed = 0, frames_at_s[0] + reserve_frames * period_s
    for at in frames_at_s[1:]:
        needed += period_s
        if at > needed:
            count, needed = count + 1, at
    return count


def playable_s(frames_at_s: NDArray[np.float64], period_s: float) -> float:
    """The smallest delay after the arrival with which a player could have started and had no gap, in s."""
    return float(np.max(frames_at_s - period_s * np.arange(len(frames_at_s))))


def percentile(values: Sequence[float], percent: float) -> float:
    """The smallest of the values that at least ``percent`` of them do not exceed; infinite for none.

    It is always one of the values: infinite ones, of audio that never came, may be among them.
    """
    ordered = sorted(values)
    return ordered[max(0, ceil(percent / 100 * len(ordered)) - 1)] if ordered else inf


def interval(found: int, of: int) -> tuple[float, float]:
    """The share ``found / of`` with 95 % confidence: its lower and upper end (exact, Clopper and Pearson).

    Few utterances give a wide interval: none of 12 spoiled means 0 to 26 %, none of 400 means 0 to 0.9 %.
    """
    low = _share_where(lambda share: 1 - _at_most(found - 1, of, share) < _OUTSIDE) if found else 0.0
    high = _share_where(lambda share: _at_most(found, of, share) > _OUTSIDE) if found < of else 1.0
    return low, high


def _share_where(below: Callable[[float], bool]) -> float:
    """The share up to which ``below`` is true."""
    low, high = 0.0, 1.0
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if below(middle) else (low, middle)
    return low


def _at_most(found: int, of: int, share: float) -> float:
    """The probability of at most ``found`` successes ``of`` trials, each with probability ``share``."""
    logs = (
        lgamma(of + 1) - lgamma(n + 1) - lgamma(of - n + 1) + n * log(share) + (of - n) * log1p(-share)
        for n in range(found + 1)
    )
    return sum(map(exp, logs))


@dataclass(frozen=True)
class Summary:
    """Several utterances.

    Attributes:
        utterances: their number.
        spoiled: how many had an audible gap, or did not come to their end.
        first_ms: per utterance, from the scheduled arrival to the audio of its first frame.
        playable_ms: per utterance, the smallest start delay without a gap.
        late_ms: per frame, from when it was emitted to its audio.
        late_share: share of frames whose audio came after the next frame was emitted.
        failures: the errors.
    """

    utterances: int
    spoiled: int
    first_ms: Sequence[float]
    playable_ms: Sequence[float]
    late_ms: Sequence[float]
    late_share: float
    failures: Sequence[str]

    @property
    def spoiled_share(self) -> float:
        """Share of the utterances that were spoiled; 1 if there was none, which proves nothing."""
        return self.spoiled / self.utterances if self.utterances else 1.0


def summary_of(heard: Sequence[Heard], timing: Timing) -> Summary:
    """The figures of these utterances."""
    period_s, times = timing.period_s, [each.frames_at_s(timing) for each in heard]
    late = [1000 * (at - number * period_s) for each in times for number, at in enumerate(each)]
    spoiled = [
        each.error is not None or gaps(at, period_s) > 0 for each, at in zip(heard, times, strict=True)
    ]
    return Summary(
        utterances=len(heard),
        spoiled=sum(spoiled),
        first_ms=[1000 * float(at[0]) for at in times],
        playable_ms=[1000 * playable_s(at, period_s) for at in times],
        late_ms=late,
        late_share=sum(each > 1000 * period_s for each in late) / max(1, len(late)),
        failures=[each.error for each in heard if each.error],
    )
