"""Compare a stream with the whole signal; if they differ, find out which stream's sound came instead."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import inf, prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tritone_client import Resumption
from tritone_runtime.fidelity import snr_db

__all__ = ["Comparison", "Limit", "compared", "frames_db"]

_RECOGNISED_DB = 60.0
"""SNR above which a frame is taken for another stream's; unrelated frames of speech have 0 dB or less."""
_SILENT = 1e-12

Samples = NDArray[Any]


@dataclass(frozen=True)
class Limit:
    """The least SNR in dB of a correct stream against the whole: over all samples, and in each frame.

    A frame's noise is compared with the mean power of the whole, so that quiet frames do not weigh more than
    loud ones.
    """

    whole_db: float
    frame_db: float = -inf


@dataclass(frozen=True)
class Comparison:
    """The result of comparing a stream with the whole.

    Attributes:
        expected: number of samples in the whole.
        delivered: number of samples in the stream.
        db: SNR of all samples; -inf if the numbers of samples differ.
        frames_db: SNR of each frame that both have; see :class:`Limit`.
        limit: the least SNR that was required.
        wrong_frame: index of the first frame that is wrong or missing; None for a correct stream.
        source: the stream whose sound the wrong frame has, as text.
        failovers: the stream's failovers.
    """

    expected: int
    delivered: int
    db: float
    frames_db: NDArray[np.float64]
    limit: Limit
    wrong_frame: int | None = None
    source: str = ""
    failovers: Sequence[Resumption] = ()

    @property
    def ok(self) -> bool:
        """Whether the stream equals the whole up to rounding."""
        return self.wrong_frame is None

    def __str__(self) -> str:
        """One line: the first wrong frame, its SNR, the source of its sound, and the failovers."""
        if self.wrong_frame is None:
            found = f"equals the whole to {self.db:.1f} dB, {self.limit.whole_db:.1f} wanted"
        else:
            found = f"frame {self.wrong_frame} is the first wrong one: {self._how_wrong(self.wrong_frame)}"
            found += f"; {self.delivered} of {self.expected} samples, {self.db:.1f} dB in all, "
            found += f"{self.limit.whole_db:.1f} wanted"
        return f"{found}; {_failovers_text(self.failovers)}"

    def _how_wrong(self, frame: int) -> str:
        if frame >= len(self.frames_db):
            return self.source
        return f"{self.frames_db[frame]:.1f} dB, {self.limit.frame_db:.1f} wanted, it is {self.source}"


def compared(
    whole: Samples,
    heard: Samples,
    samples_per_frame: int,
    limit: Limit,
    others: Mapping[str, Samples] | None = None,
    failovers: Sequence[Resumption] = (),
) -> Comparison:
    """Compare a stream with the whole.

    Args:
        whole: the whole signal [S] or [C, S].
        heard: the stream's samples, of as many channels; a wrong stream may have fewer or more samples. A
            stream that gave no samples may have any shape.
        samples_per_frame: samples per frame of both.
        limit: least SNR of a correct stream.
        others: whole signals of other streams by name, to recognise their frames; those with another number
            of channels are left out.
        failovers: the stream's failovers, for the report.

    Raises:
        ValueError: the numbers of channels differ.
    """
    heard = heard if heard.size else whole[..., :0]
    db = snr_db(whole, heard) if whole.shape == heard.shape else -inf
    each = frames_db(whole, heard, samples_per_frame)
    wrong = _first_wrong(db, each, limit, same_length=whole.shape == heard.shape)
    source = ""
    if wrong is not None:
        source = _source(wrong, {"its own whole": whole, **(others or {})}, heard, samples_per_frame)
    return Comparison(whole.shape[-1], heard.shape[-1], db, each, limit, wrong, source, tuple(failovers))


def frames_db(whole: Samples, heard: Samples, samples_per_frame: int) -> NDArray[np.float64]:
    """SNR in dB of each complete frame that both signals have, against the mean power of the first.

    Raises:
        ValueError: the numbers of channels differ.
    """
    if whole.shape[:-1] != heard.shape[:-1]:
        raise ValueError(
            f"the channels differ: the whole is {list(whole.shape)}, the stream {list(heard.shape)}"
        )
    frames = min(whole.shape[-1], heard.shape[-1]) // samples_per_frame
    theirs, ours = (_framed(each, samples_per_frame)[:frames] for each in (whole, heard))
    noise = np.square(theirs - ours).mean(1)
    with np.errstate(divide="ignore", invalid="ignore"):
        found = 10 * np.log10(np.square(whole, dtype=np.float64).mean() / noise)
    found[noise == 0] = inf
    return np.where(np.isnan(found), -inf, found)


def _framed(samples: Samples, size: int) -> NDArray[np.float64]:
    """Complete frames of ``size`` samples per channel, with all channels of a frame in one row."""
    channels, frames = prod(samples.shape[:-1]), samples.shape[-1] // size
    cut = samples[..., : frames * size].reshape(channels, frames, size)
    return cut.transpose(1, 0, 2).reshape(frames, channels * size).astype(np.float64)


def _first_wrong(db: float, each: NDArray[np.float64], limit: Limit, same_length: bool) -> int | None:
    below = np.flatnonzero(each < limit.frame_db)
    if len(below):
        return int(below[0])
    if not same_length:
        return len(each)
    if db >= limit.whole_db:
        return None
    return int(each.argmin()) if len(each) else 0


def _source(frame: int, known: Mapping[str, Samples], heard: Samples, size: int) -> str:
    """The stream whose sound the frame has, as text."""
    piece = _framed(heard, size)[frame : frame + 1]
    if not len(piece):
        return "missing" if heard.shape[-1] <= frame * size else "a part of a frame"
    if not np.isfinite(piece).all():
        return "not finite"
    if np.square(piece).mean() < _SILENT:
        return "silence"
    alike = {name: whole for name, whole in known.items() if whole.shape[:-1] == heard.shape[:-1]}
    nearest = max(_nearest(name, piece, _framed(whole, size)) for name, whole in alike.items())
    return nearest[1] if nearest[0] >= _RECOGNISED_DB else "the sound of no known stream"


def _nearest(name: str, piece: NDArray[np.float64], frames: NDArray[np.float64]) -> tuple[float, str]:
    """SNR in dB of the signal's frame that is most similar to the piece, and that frame's name."""
    if not len(frames):
        return -inf, ""
    noise = np.square(frames - piece).mean(1)
    best = int(noise.argmin())
    near_db = 10 * np.log10(np.square(piece).mean() / noise[best]) if noise[best] else inf
    return near_db, f"frame {best} of {name} ({near_db:.0f} dB)"


def _failovers_text(failovers: Sequence[Resumption]) -> str:
    if not failovers:
        return "no failover"
    formatted = [
        f"{each.from_endpoint} -> {each.to_endpoint} ({each.reason}; {each.replayed_frames} frames replayed)"
        for each in failovers
    ]
    return f"{len(failovers)} failover{'s' if len(failovers) > 1 else ''}: {', '.join(formatted)}"
