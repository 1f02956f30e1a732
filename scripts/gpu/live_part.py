"""Part ``live``: live streams at real-time pace, in rising numbers, until their answers are late.

    server   through Triton's server and our backend, from several client processes
    process  the same runtime in one process with the client, without a server

A number of streams is in time if 99 % of the answers take less than 80 ms and no stream fails; the knee is
the largest of them. Each number gives the median and the 99th percentile of the answers' latencies, the
median time to first audio, and the answers per second.
"""

import math
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np

from scripts.common.realtime_streams import StreamResult, summary_of
from scripts.gpu.live_clients import Clients, Load
from scripts.gpu.models import Models
from scripts.gpu.points import Point, Reading, SkippedError
from tritone_build.engines.speech import speech_tokens
from tritone_client import Codec
from tritone_runtime.executors.device import VARIABLE
from tritone_server.binaries import ServerError, find_server
from tritone_server.interrupts import stopped_by_signals
from tritone_server.launcher import Ports, TritonServer
from tritone_server.wheels import WheelError

__all__ = ["measured"]

_LIMIT_MS = 80.0
_COUNTS, _TINY_COUNTS = (16, 64, 128, 256, 384, 512, 768, 1024, 1536, 2000), (2,)
_SECONDS, _TINY_FRAMES = 8.0, 12
_PER_REQUEST = (1, 2)
"""Numbers of frames in each request."""
_CLIENTS, _TINY_CLIENTS = 8, 2
_SENTENCE_FRAMES = 50
_LATE_POINTS = 2


def measured(point: Point, models: Models) -> Iterator[Reading]:
    """The readings for each number of streams, then the knee."""
    if point.kind == "server":
        _refuse_without_server()
    tiny = models.settings.tiny
    counts = _TINY_COUNTS if tiny else _COUNTS
    folder = models.repository(point.codec, "cuda", counts[-1])
    codec = models.codec(point.codec)
    sentence = speech_tokens(codec, _SENTENCE_FRAMES)[0].numpy()
    frames = _TINY_FRAMES if tiny else math.ceil(_SECONDS * codec.geometry.frame_rate_hz)
    models.release()
    clients = 1 if point.kind == "process" else _TINY_CLIENTS if tiny else _CLIENTS
    with _served(point, folder, models) as url, Clients(clients) as running:
        running.results(Load(point.codec, url, sentence, 1, 1, 1))  # loads what is loaded at the first use
        for per_request in (1,) if point.kind == "process" else _PER_REQUEST:
            load = Load(point.codec, url, sentence, 1, frames, per_request)
            yield from _swept(point, load, counts, running)


def _swept(point: Point, load: Load, counts: Sequence[int], running: Clients) -> Iterator[Reading]:
    """The readings for rising numbers of streams, until two numbers in a row are late; then the knee."""
    knee, late, tried = 0, 0, list[str]()
    for count in counts:
        results, took_s = running.results(replace(load, streams=count))
        for reading in _readings(point, count, results, took_s):
            yield replace(reading, frames=load.frames_per_request)
        knee, late = (count, 0) if _in_time(results) else (knee, late + 1)
        tried.append(str(count))
        if late == _LATE_POINTS:
            break
    note = f"of {', '.join(tried)}"
    yield Reading(knee, "streams", f"{point.kind}_knee", knee, load.frames_per_request, note)


def _refuse_without_server() -> None:
    try:
        find_server()
    except (ServerError, WheelError) as error:
        raise SkippedError(f"no tritonserver here: {error}") from error


def _in_time(results: Sequence[StreamResult]) -> bool:
    total = summary_of(results)
    return total.p99_ms < _LIMIT_MS and not total.failures


@contextmanager
def _served(point: Point, folder: Path, models: Models) -> Iterator[str | Path]:
    """The address of a server, or the folder itself, whose models stay loaded in this process."""
    device = models.settings.device
    if point.kind == "process":
        os.environ[VARIABLE] = device
        with Codec(point.codec, folder):
            yield folder
        return
    with (
        stopped_by_signals(),
        TritonServer(folder, [point.codec], ports=Ports.free(), device=device, grace_s=1) as server,
    ):
        yield server.url


def _readings(point: Point, count: int, results: Sequence[StreamResult], took_s: float) -> Iterator[Reading]:
    total = summary_of(results)
    note = f"{total.late_share:.1%} late, {total.underruns} underruns, {len(total.failures)} failed"
    note += f": {total.failures[0]}" if total.failures else ""
    latencies = [each for result in results for each in result.latencies_ms]
    if not latencies:
        raise RuntimeError(f"none of {count} streams was answered; {note}")
    values = {
        "p50": float(np.median(latencies)),
        "p99": total.p99_ms,
        "first_audio": float(np.median([each.first_ms for each in results if each.latencies_ms])),
    }
    for name, value in values.items():
        yield Reading(value, "ms", f"{point.kind}_{name}", count, note=note)
    yield Reading(total.frames / took_s, "requests/s", f"{point.kind}_requests", count, note=note)
