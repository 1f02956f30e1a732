"""Cost of a frame as a function of frames per request, rows per batch, live streams and threads."""

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np

from scripts.bench.sessions import OfflineSession, has_streams
from scripts.bench.steps import Sound, our_step
from scripts.bench.timing import interleaved_ms, spread_of
from scripts.common.report import Row

__all__ = ["scaling_rows"]

_FRAMES, _ROWS, _STREAMS = (1, 4, 10, 50, 200), (1, 2, 4, 8), (1, 2, 4, 8, 16)
_FRAMES_PER_ROW, _WARM = 10, 3
_LONG_FRAMES, _LONG_ROUNDS, _ROUNDS = 16, 3, 5
Measured = Iterator[tuple[float, int, Callable[[], object]]]
"""Position on the axis, frames computed (over all rows), and the action that computes them."""


def scaling_rows(codec: str, threads: int, sound: Sound) -> list[Row]:
    """Milliseconds per frame of one stream or row; ``at`` is the position on the axis."""
    session, least = OfflineSession(codec, threads), sound.info.min_frames
    tokens = np.tile(sound.tokens, (1, 2))

    def frames() -> Measured:
        for count in (count for count in _FRAMES if count >= least):
            yield count, count, partial(session.decode, tokens[:, :count])

    def rows() -> Measured:
        latent, length = session.latent(tokens[:, :_FRAMES_PER_ROW])
        for count in _ROWS:
            inputs = [np.repeat(each, count, axis=0) for each in (latent, length)]
            yield count, count * _FRAMES_PER_ROW, partial(session.sound, *inputs)

    def streams() -> Measured:
        for count in _STREAMS if has_streams(codec, "decode_stream") else ():
            yield count, count, our_step(codec, "decode", count, threads, sound)

    def thread_counts() -> Measured:
        for count in range(1, threads + 1):
            own_session = OfflineSession(codec, count)
            yield count, _FRAMES_PER_ROW, partial(own_session.decode, tokens[:, :_FRAMES_PER_ROW])

    return [
        *_curve(codec, "frame_ms_by_frames", "frames in a request", frames()),
        *_curve(codec, "frame_ms_by_rows", f"rows of {_FRAMES_PER_ROW} frames in a batch", rows()),
        *_curve(codec, "frame_ms_by_streams", "live streams in a step", streams()),
        *_curve(codec, "frame_ms_by_threads", f"threads, {_FRAMES_PER_ROW} frames", thread_counts()),
    ]


def _curve(codec: str, check: str, axis: str, measured: Measured) -> list[Row]:
    rows = []
    for at, frames, action in measured:
        for _ in range(_WARM if frames < _LONG_FRAMES else 0):
            action()
        (taken,) = interleaved_ms([action], _LONG_ROUNDS if frames >= _LONG_FRAMES else _ROUNDS)
        each = spread_of([value / frames for value in taken])
        how = f"{axis}: {at:g}"
        rows.append(Row(codec, check, each.median, "ms", "none", True, how, each.low, each.high, at))
    return rows
