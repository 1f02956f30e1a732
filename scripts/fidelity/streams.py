"""Live streams: however they are cut, in whatever company, and however long they last."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import numpy as np

from scripts.common.memory import idle_mb
from scripts.common.report import Row
from scripts.common.stream_metrics import mean_batch, steps_by_batch
from scripts.fidelity.case import Array, Case, Direction, directions
from tritone_client import Stream

__all__ = ["chunking_rows", "chunkings", "isolation_rows", "long_rows"]

_STREAMS, _APART, _SHARED = 8, 5, 2.0
_PIECE = 25
_LAST_S, _EARLIER_S = 60, 100
_GROWTH_MB = 20


def chunking_rows(case: Case) -> list[Row]:
    """The same input in pushes of every size, against one request with all of it."""
    return [row for direction in directions(case) for row in _cut_rows(direction)]


def _cut_rows(direction: Direction) -> Iterator[Row]:
    seconds = direction.case.durations.stream
    data = direction.piece(0, direction.case.frames(seconds))
    whole = direction.whole(data)
    for told, sizes in chunkings(direction, data.shape[-1]):
        edges = [edge for edge in np.cumsum(sizes) if edge < data.shape[-1]]
        with direction.stream() as stream:
            pieces = [stream.push(piece) for piece in np.split(data, edges, axis=-1)]
            pieces.append(stream.close())
        how = f"{seconds:g} s in {told}, against one request"
        if not direction.kept:
            how += f"; the model looks {direction.back} frames ahead, so the client sends windows"
        yield direction.row("stream_vs_offline", [(whole, np.concatenate(pieces, axis=-1))], how)


def chunkings(direction: Direction, steps: int) -> Iterator[tuple[str, Array]]:
    """Sizes of pushes; those of sound are never whole frames."""
    unit = direction.unit * direction.step
    word, odd = ("frame", 0) if direction.role == "decode" else ("sample", 1)
    for size in (unit + odd, 2 * unit + odd):
        yield f"{size}-{word} pushes", np.full(-(-steps // size), size)
    most = 5 * unit
    drawn = np.random.default_rng(0).integers(1, most + 1, 3 * steps // most + 20)
    yield f"pushes of 1 to {most} {word}s, drawn", drawn
    yield "one push", np.array([steps])


def isolation_rows(case: Case) -> list[Row]:
    """Streams that run together, against each of them alone."""
    return [_isolation_row(direction) for direction in directions(case) if direction.kept]


def _isolation_row(direction: Direction) -> Row:
    case = direction.case
    model, metrics = f"{case.name}_{direction.role}_stream", case.server.metrics_url
    frames = case.frames(case.durations.isolation)
    before = steps_by_batch(metrics, model)
    together = _together(direction, frames)
    shared = mean_batch(before, steps_by_batch(metrics, model)) or 0.0
    alone = []
    for index in range(_STREAMS):
        with direction.stream() as stream:
            head = [_aged(direction, stream, index, turn) for turn in range(index + 1)]
            alone.append(_followed(direction, stream, index, frames, head))
    how = f"{_STREAMS} streams, up to {_STREAMS * _APART} frames apart in age, each against itself alone, "
    how += f"{frames} frames one by one; {shared:.1f} streams per step, at least {_SHARED:g} wanted"
    pairs = list(zip(alone, together, strict=True))
    return direction.row("batch_isolation", pairs, how, proven=shared >= _SHARED)


def _together(direction: Direction, frames: int) -> list[Array]:
    with ExitStack() as opened, ThreadPoolExecutor(_STREAMS) as pool:
        streams = [opened.enter_context(direction.stream()) for _ in range(_STREAMS)]
        heads = _heads(direction, streams)
        all_here = threading.Barrier(_STREAMS)

        def driven(index: int) -> Array:
            all_here.wait()
            return _followed(direction, streams[index], index, frames, heads[index])

        return list(pool.map(driven, range(_STREAMS)))


def _heads(direction: Direction, streams: list[Stream[Any]]) -> list[list[Array]]:
    """Make each stream as old as none of the others; the oldest begins, so that none is idle for long."""
    heads: list[list[Array]] = [[] for _ in streams]
    for turn in range(len(streams)):
        for index in range(len(streams) - 1 - turn, len(streams)):
            heads[index].append(_aged(direction, streams[index], index, len(heads[index])))
    return heads


def _aged(direction: Direction, stream: Stream[Any], index: int, turn: int) -> Array:
    start = 11 * index + _APART * turn
    return stream.push(direction.piece(start, start + _APART))


def _followed(
    direction: Direction, stream: Stream[Any], index: int, frames: int, pieces: list[Array]
) -> Array:
    start = 11 * index + _APART * (index + 1)
    for frame in range(start, start + frames):
        pieces.append(stream.push(direction.piece(frame, frame + 1)))
    return np.concatenate(pieces, axis=-1)


def long_rows(case: Case) -> list[Row]:
    """The end of a long stream against a stream that starts shortly before, and the server's memory."""
    return [row for direction in directions(case) if direction.kept for row in _long_rows(direction)]


def _long_rows(direction: Direction) -> list[Row]:
    case = direction.case
    reach_s = direction.back / case.codec.info.frame_rate_hz
    assert reach_s < _EARLIER_S, "a fresh stream must have forgotten its start"
    seconds = min(case.durations.hour, max(case.durations.reaches * reach_s, 2 * _EARLIER_S))
    total, last = case.frames(seconds), case.frames(_LAST_S)
    with direction.stream() as stream:
        _pushed(direction, stream, 0, last)
        before_mb = idle_mb(case.server.pid)
        ours = _pushed(direction, stream, last, total)
        grown_mb = idle_mb(case.server.pid) - before_mb
    with direction.stream() as stream:
        fresh = _pushed(direction, stream, total - case.frames(_LAST_S + _EARLIER_S), total)
    how = f"{seconds / 60:.0f} min of stream time in pushes of {_PIECE} frames"
    kept = last * direction.made
    return [
        direction.row(
            "long_stream",
            [(fresh[..., -kept:], ours[..., -kept:])],
            f"{how}; the last {_LAST_S} s against a stream that starts {_EARLIER_S} s earlier",
        ),
        Row(
            case.name,
            direction.check("long_stream_memory"),
            grown_mb,
            "MB",
            f"< {_GROWTH_MB}",
            grown_mb < _GROWTH_MB,
            f"{how}; what server and children grew by after the first {_LAST_S} s",
        ),
    ]


def _pushed(direction: Direction, stream: Stream[Any], start: int, stop: int) -> Array:
    """What came out for these frames, or for the last of them."""
    kept: list[Array] = []
    most = -(-direction.case.frames(_LAST_S) // _PIECE) + 1
    for first in range(start, stop, _PIECE):
        kept.append(stream.push(direction.piece(first, min(stop, first + _PIECE))))
        del kept[:-most]
    return np.concatenate(kept, axis=-1)
