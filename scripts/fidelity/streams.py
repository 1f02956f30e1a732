"""Live streams: cut into pushes of any size, run beside other streams, and run for a long time."""

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

_STREAMS, _AGE_STEP_FRAMES, _MIN_MEAN_BATCH = 8, 5, 2.0
_PUSH_FRAMES = 25
_LAST_S, _EARLIER_S = 60, 100
_MAX_GROWTH_MB = 20


def chunking_rows(case: Case) -> list[Row]:
    """The same input in pushes of different sizes, against a single request."""
    return [row for direction in directions(case) for row in _cut_rows(direction)]


def _cut_rows(direction: Direction) -> Iterator[Row]:
    seconds = direction.case.durations.stream
    data = direction.input_frames(0, direction.case.frames(seconds))
    offline = direction.offline(data)
    for name, sizes in chunkings(direction, data.shape[-1]):
        edges = [edge for edge in np.cumsum(sizes) if edge < data.shape[-1]]
        with direction.stream() as stream:
            pieces = [stream.push(piece) for piece in np.split(data, edges, axis=-1)]
            pieces.append(stream.close())
        how = f"{seconds:g} s in {name}, against one request"
        if not direction.stateful:
            how += f"; the model looks {direction.lookback_frames} frames ahead, so the client sends windows"
        yield direction.row("stream_vs_offline", [(offline, np.concatenate(pieces, axis=-1))], how)


def chunkings(direction: Direction, steps: int) -> Iterator[tuple[str, Array]]:
    """Ways to cut ``steps`` time steps, each as a name and the sizes of its pushes.

    The sizes are frames when decoding; when encoding they are samples, and no multiple of a frame.
    """
    unit = direction.unit * direction.input_hop
    unit_name, odd = ("frame", 0) if direction.role == "decode" else ("sample", 1)
    for size in (unit + odd, 2 * unit + odd):
        yield f"{size}-{unit_name} pushes", np.full(-(-steps // size), size)
    most = 5 * unit
    drawn = np.random.default_rng(0).integers(1, most + 1, 3 * steps // most + 20)
    yield f"pushes of 1 to {most} {unit_name}s, drawn", drawn
    yield "one push", np.array([steps])


def isolation_rows(case: Case) -> list[Row]:
    """Streams that run together, each against the same stream run alone."""
    return [_isolation_row(direction) for direction in directions(case) if direction.stateful]


def _isolation_row(direction: Direction) -> Row:
    case = direction.case
    model, metrics = f"{case.name}_{direction.role}_stream", case.server.metrics_url
    frames = case.frames(case.durations.isolation)
    before = steps_by_batch(metrics, model)
    together = _run_together(direction, frames)
    batch = mean_batch(before, steps_by_batch(metrics, model)) or 0.0
    alone = []
    for index in range(_STREAMS):
        with direction.stream() as stream:
            head = [_push_head(direction, stream, index, turn) for turn in range(index + 1)]
            alone.append(_push_rest(direction, stream, index, frames, head))
    apart = _STREAMS * _AGE_STEP_FRAMES
    how = f"{_STREAMS} streams, up to {apart} frames apart in age, each against itself alone, "
    how += f"{frames} frames one by one; {batch:.1f} streams per step, at least {_MIN_MEAN_BATCH:g} wanted"
    pairs = list(zip(alone, together, strict=True))
    return direction.row("batch_isolation", pairs, how, proven=batch >= _MIN_MEAN_BATCH)


def _run_together(direction: Direction, frames: int) -> list[Array]:
    with ExitStack() as stack, ThreadPoolExecutor(_STREAMS) as pool:
        streams = [stack.enter_context(direction.stream()) for _ in range(_STREAMS)]
        heads = _heads(direction, streams)
        barrier = threading.Barrier(_STREAMS)

        def drive(index: int) -> Array:
            barrier.wait()
            return _push_rest(direction, streams[index], index, frames, heads[index])

        return list(pool.map(drive, range(_STREAMS)))


def _heads(direction: Direction, streams: list[Stream[Any]]) -> list[list[Array]]:
    """Give every stream another age; the oldest starts first, so that no stream is idle for long."""
    heads: list[list[Array]] = [[] for _ in streams]
    for turn in range(len(streams)):
        for index in range(len(streams) - 1 - turn, len(streams)):
            heads[index].append(_push_head(direction, streams[index], index, len(heads[index])))
    return heads


def _push_head(direction: Direction, stream: Stream[Any], index: int, turn: int) -> Array:
    start = 11 * index + _AGE_STEP_FRAMES * turn
    return stream.push(direction.input_frames(start, start + _AGE_STEP_FRAMES))


def _push_rest(
    direction: Direction, stream: Stream[Any], index: int, frames: int, pieces: list[Array]
) -> Array:
    start = 11 * index + _AGE_STEP_FRAMES * (index + 1)
    for frame in range(start, start + frames):
        pieces.append(stream.push(direction.input_frames(frame, frame + 1)))
    return np.concatenate(pieces, axis=-1)


def long_rows(case: Case) -> list[Row]:
    """The end of a long stream against a stream that starts shortly before it, and the server's memory."""
    return [row for direction in directions(case) if direction.stateful for row in _long_rows(direction)]


def _long_rows(direction: Direction) -> list[Row]:
    case = direction.case
    field_s = direction.lookback_frames / case.codec.info.frame_rate_hz
    assert field_s < _EARLIER_S, "the late stream must have seen more than the receptive field"
    seconds = min(
        case.durations.long_stream_max, max(case.durations.long_stream_fields * field_s, 2 * _EARLIER_S)
    )
    total, last = case.frames(seconds), case.frames(_LAST_S)
    with direction.stream() as stream:
        _push_all(direction, stream, 0, last)
        before_mb = idle_mb(case.server.pid)
        ours = _push_all(direction, stream, last, total)
        grown_mb = idle_mb(case.server.pid) - before_mb
    with direction.stream() as stream:
        late = _push_all(direction, stream, total - case.frames(_LAST_S + _EARLIER_S), total)
    how = f"{seconds / 60:.0f} min of stream time in pushes of {_PUSH_FRAMES} frames"
    kept = last * direction.output_hop
    return [
        direction.row(
            "long_stream",
            [(late[..., -kept:], ours[..., -kept:])],
            f"{how}; the last {_LAST_S} s against a stream that starts {_EARLIER_S} s earlier",
        ),
        Row(
            case.name,
            direction.check_name("long_stream_memory"),
            grown_mb,
            "MB",
            f"< {_MAX_GROWTH_MB}",
            grown_mb < _MAX_GROWTH_MB,
            f"{how}; growth of the server and its children after the first {_LAST_S} s",
        ),
    ]


def _push_all(direction: Direction, stream: Stream[Any], start: int, stop: int) -> Array:
    """The output for these frames; of a long input only the last minute or so is kept."""
    kept: list[Array] = []
    most = -(-direction.case.frames(_LAST_S) // _PUSH_FRAMES) + 1
    for first in range(start, stop, _PUSH_FRAMES):
        kept.append(stream.push(direction.input_frames(first, min(stop, first + _PUSH_FRAMES))))
        del kept[:-most]
    return np.concatenate(kept, axis=-1)
