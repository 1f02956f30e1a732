"""Streams of decoders that look ahead, beside decoding each frame in a window of frames around it.

orpheus-speech decodes SNAC in windows of four frames: one before the frame and two after it. Exact windows
hold as many frames on both sides as the decoder sees.
"""

import statistics
from collections.abc import Mapping

import numpy as np

from scripts.bench.sessions import OfflineSession
from scripts.bench.steps import Sound, our_step
from scripts.bench.timing import interleaved_ms, ratio_row
from scripts.common.report import Row
from tritone_runtime.fidelity import snr_db

__all__ = ["late_window_rows"]

_COMPARED_FRAMES, _ROUNDS, _QUICK_ROUNDS = 12, 10, 5
_USUAL: Mapping[str, tuple[int, int, float]] = {"snac_24khz": (1, 2, 1 / 2.5)}
"""Frames before and after in the usual window, and the largest allowed ratio of our step to it."""
_EXACT_LIMITS: Mapping[int, float] = {7: 1 / 5, 21: 1 / 12}
"""The same for exact windows, by their length."""


def late_window_rows(codec: str, threads: int, sound: Sound, quick: bool = False) -> list[Row]:
    """Rows of the usual window, if the codec has one, and of the exact one."""
    exact, rounds = sound.info.lookaround_frames, _QUICK_ROUNDS if quick else _ROUNDS
    windows = [_USUAL[codec]] if codec in _USUAL else []
    windows.append((exact, exact, _EXACT_LIMITS.get(2 * exact + 1, 1.0)))
    session = OfflineSession(codec, threads)
    return [_row(codec, session, threads, sound, window, rounds) for window in windows]


def _row(
    codec: str,
    session: OfflineSession,
    threads: int,
    sound: Sound,
    window: tuple[int, int, float],
    rounds: int,
) -> Row:
    before, after, limit = window
    exact, hop = sound.info.lookaround_frames, sound.info.samples_per_frame
    whole = session.decode(sound.tokens[:, : 2 * exact + _COMPARED_FRAMES])
    kept = range(exact, exact + _COMPARED_FRAMES)
    frames = [
        session.decode(sound.tokens[:, at - before : at + after + 1])[before * hop : (before + 1) * hop]
        for at in kept
    ]
    error = snr_db(whole[exact * hop : (exact + _COMPARED_FRAMES) * hop], np.concatenate(frames))
    tokens = sound.tokens[:, : before + 1 + after]
    step = our_step(codec, "decode", 1, threads, sound)
    ours, theirs = interleaved_ms([step, lambda: session.decode(tokens)], rounds)
    how = f"each frame with {before} before it and {after} after it: {error:.1f} dB; "
    how += f"{statistics.median(ours):.2f} against {statistics.median(theirs):.2f} ms"
    return ratio_row(codec, f"decode_step_vs_window_{before}_{after}", ours, theirs, limit, how)
