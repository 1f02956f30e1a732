"""Live streams through perf_analyzer, more and more of them, until they are served too late."""

import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from google.protobuf import text_format
from numpy.typing import NDArray
from rich.console import Console
from tritonclient.grpc import model_config_pb2 as pb

from scripts.common.realtime_streams import StreamResult, Utterance, run_streams
from scripts.common.report import Row
from scripts.common.speech_inputs import frames_of, repeated, write_inputs
from scripts.common.stream_metrics import mean_batch, steps_by_batch
from scripts.load.perf_analyzer import Load, find_perf_analyzer, measure, unanswered_share
from scripts.load.sweep import Point, Sweep
from tritone_server.launcher import TritonServer, serving

__all__ = ["LATENCY", "REALTIME", "Asked", "LoadError", "commands", "served_sweep", "stream_rows"]

REALTIME, LATENCY = "realtime_streams", "latency_p99"
"""Checks of streams that are decoded; of those that are encoded they begin with ``encode_``."""
_TARGETS = {("mimi", "decode"): 20, ("nanocodec", "decode"): 5}


class LoadError(RuntimeError):
    """There is nothing to put load on; the message says what is missing."""


@dataclass(frozen=True)
class Asked:
    """Numbers of streams of a model to try, rising, for so long each."""

    repository: Path
    codec: str
    direction: str
    streams: Sequence[int]
    seconds: float

    @property
    def model(self) -> str:
        """Its name."""
        return f"{self.codec}_{self.direction}_stream"


def commands(asked: Asked) -> list[str]:
    """perf_analyzer's command lines, for a server on its usual port."""
    executable, _ = find_perf_analyzer()
    loads = _loads(asked, "127.0.0.1:8001", Path("inputs.json"))
    return [" ".join(load.command(executable, Path("answers.json"))) for load in loads]


def _loads(asked: Asked, url: str, inputs: Path) -> Iterator[Load]:
    """One per number of streams, at the frame rate that the model's configuration states."""
    path = asked.repository / asked.model / "config.pbtxt"
    if not path.exists():
        raise LoadError(
            f"{path} is missing: the models are not built ('make models'), or this codec has no such model "
            "because that half of it looks ahead"
        )
    parameters = text_format.Parse(path.read_text(), pb.ModelConfig()).parameters
    sample_rate, hop = (int(parameters[name].string_value) for name in ("sample_rate", "samples_per_frame"))
    for streams in asked.streams:
        yield Load(url, asked.model, inputs, streams, sample_rate / hop, asked.seconds)


def served_sweep(asked: Asked, console: Console) -> Sweep:
    """Serve the codec and try the numbers in turn.

    Raises:
        LoadError: there is no such model.
    """
    with tempfile.TemporaryDirectory() as scratch:
        inputs = Path(scratch, "inputs.json")
        list(_loads(asked, "", inputs))  # before the server starts: is the model there?
        with serving(asked.repository, [asked.codec]) as server:
            name, frames = frames_of(asked.codec, asked.direction, server)
            write_inputs(inputs, name, frames)
            tokens = frames[:, :, 0].T if asked.direction == "decode" else None
            points: list[Point] = []
            for load in _loads(asked, server.url, inputs):
                points.append(_point(load, tokens, server, console))
                if Sweep(asked.codec, asked.model, points).over:
                    break
    return Sweep(asked.codec, asked.model, points)


def _point(load: Load, tokens: NDArray[np.generic] | None, server: TritonServer, console: Console) -> Point:
    """One of the streams, if there are two and it decodes, is a listener of ours."""
    doing = f"{load.model}, live streams: {load.streams}, {load.asked_hz:g} frames/s"
    before = steps_by_batch(server.metrics_url, load.model)
    with console.status(doing) as status, ThreadPoolExecutor(1) as beside:
        listener = None
        if tokens is not None and load.streams > 1:
            listener = beside.submit(_listen, load, tokens)
            load = replace(load, streams=load.streams - 1)
        result = measure(load, lambda gone: status.update(f"{doing}, {gone:.0f} of {load.duration_s:.0f} s"))
        heard = None if listener is None else listener.result()
    point = Point(result, mean_batch(before, steps_by_batch(server.metrics_url, load.model)), heard)
    console.print(
        f"{doing}: {'real time' if point.real_time else 'too many'}, {_told(point)}", soft_wrap=True
    )
    return point


def _listen(load: Load, tokens: NDArray[np.generic]) -> StreamResult:
    spoken = repeated(tokens.astype(np.int64), round(load.duration_s * load.rate_hz))
    return run_streams(load.model.removesuffix("_decode_stream"), load.url, [Utterance(spoken)])[0]


def _told(point: Point) -> str:
    result = point.result
    if result.errors:
        return f"{len(result.errors)} streams failed: {result.errors[0]}"
    p50, p95, p99 = (result.percentile_ms(percent) for percent in (50, 95, 99))
    told = f"p50 {p50:.1f}, p95 {p95:.1f}, p99 {p99:.1f}, longest {result.percentile_ms(100):.1f} ms"
    told += f"; {100 * (1 - unanswered_share(result)):.1f} % of {result.load.asked_hz:g}/s"
    if point.mean_batch is not None:
        told += f"; {point.mean_batch:.1f} streams per step"
    return told if point.heard is None else f"{told}; a listener: {point.heard.told}"


def stream_rows(sweep: Sweep, asked: Asked) -> list[Row]:
    """The most streams in real time, and the latency at each number."""
    wanted = _TARGETS.get((sweep.codec, asked.direction), 0)
    last = sweep.points[-1]
    how = f"{asked.direction}, frames of {last.frame_ms:.1f} ms, {asked.seconds:g} s each; "
    how += f"ended at {last.streams}: {_told(last)}"
    target = f">= {wanted}" if wanted else "none"
    prefix = "" if asked.direction == "decode" else f"{asked.direction}_"
    ok = sweep.knee >= wanted
    knee = Row(sweep.codec, f"{prefix}{REALTIME}", sweep.knee, "streams", target, ok, how)
    latency = f"{prefix}{LATENCY}"
    return [knee, *(_latency_row(sweep.codec, latency, point) for point in sweep.answered)]


def _latency_row(codec: str, check: str, point: Point) -> Row:
    how = f"streams: {point.streams}; {_told(point)}"
    value, low = (point.result.percentile_ms(percent) for percent in (99, 50))
    return Row(codec, check, value, "ms", "none", True, how, low, value, point.streams)
