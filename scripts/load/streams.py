"""Live streams through perf_analyzer, in rising numbers until they are no longer served in time."""

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

from scripts.common.realtime_streams import ScheduledUtterance, StreamResult, run_streams
from scripts.common.report import Row
from scripts.common.speech_inputs import repeated, stream_inputs, write_sequences
from scripts.common.stream_metrics import mean_batch, steps_by_batch
from scripts.load.perf_analyzer import StreamLoad, find_perf_analyzer, measure, unanswered_share
from scripts.load.sweep import Point, Sweep
from tritone_server.launcher import TritonServer, serving

__all__ = ["LATENCY", "REALTIME", "LoadError", "SweepPlan", "commands", "run_sweep", "stream_rows"]

REALTIME, LATENCY = "realtime_streams", "latency_p99"
"""Checks of streams that decode; those of streams that encode have the prefix ``encode_``."""
_TARGETS = {("mimi", "decode"): 16, ("nanocodec", "decode"): 3}


class LoadError(RuntimeError):
    """The model to test is missing; the message says why that may be."""


@dataclass(frozen=True)
class SweepPlan:
    """The numbers of streams to try on a model, rising, for ``seconds`` each."""

    repository: Path
    codec: str
    direction: str
    streams: Sequence[int]
    seconds: float

    @property
    def model(self) -> str:
        """Name of the streaming model."""
        return f"{self.codec}_{self.direction}_stream"


def commands(plan: SweepPlan) -> list[str]:
    """perf_analyzer's command lines, for a server on the default port."""
    executable, _ = find_perf_analyzer()
    loads = _loads(plan, "127.0.0.1:8001", Path("inputs.json"))
    return [" ".join(load.command(executable, Path("answers.json"))) for load in loads]


def _loads(plan: SweepPlan, url: str, inputs: Path) -> Iterator[StreamLoad]:
    """One load per number of streams, at the frame rate in the model's configuration."""
    path = plan.repository / plan.model / "config.pbtxt"
    if not path.exists():
        raise LoadError(
            f"{path} is missing: either the models are not built ('make models' builds them), or this codec "
            "has no streaming model in this direction because its network looks ahead"
        )
    parameters = text_format.Parse(path.read_text(), pb.ModelConfig()).parameters
    sample_rate, hop = (int(parameters[name].string_value) for name in ("sample_rate", "samples_per_frame"))
    for streams in plan.streams:
        yield StreamLoad(url, plan.model, inputs, streams, sample_rate / hop, plan.seconds)


def run_sweep(plan: SweepPlan, console: Console) -> Sweep:
    """Serve the codec and measure each number of streams in turn.

    Raises:
        LoadError: the model is missing.
    """
    with tempfile.TemporaryDirectory() as scratch:
        inputs = Path(scratch, "inputs.json")
        list(_loads(plan, "", inputs))  # raises LoadError before the server starts
        with serving(plan.repository, [plan.codec]) as server:
            name, frames = stream_inputs(plan.codec, plan.direction, server)
            write_sequences(inputs, name, frames)
            tokens = frames[:, :, 0].T if plan.direction == "decode" else None
            points: list[Point] = []
            for load in _loads(plan, server.url, inputs):
                points.append(_point(load, tokens, server, console))
                if Sweep(plan.codec, plan.model, points).over:
                    break
    return Sweep(plan.codec, plan.model, points)


def _point(
    load: StreamLoad, tokens: NDArray[np.generic] | None, server: TritonServer, console: Console
) -> Point:
    """Measure one number of streams; if two or more decode, our own client runs one of them."""
    activity = f"{load.model}, live streams: {load.streams}, {load.request_rate_hz:g} frames/s"
    before = steps_by_batch(server.metrics_url, load.model)
    with console.status(activity) as status, ThreadPoolExecutor(1) as beside:
        listening = None
        if tokens is not None and load.streams > 1:
            listening = beside.submit(_listen, load, tokens)
            load = replace(load, streams=load.streams - 1)
        result = measure(load, lambda s: status.update(f"{activity}, {s:.0f} of {load.duration_s:.0f} s"))
        listener = None if listening is None else listening.result()
    point = Point(result, mean_batch(before, steps_by_batch(server.metrics_url, load.model)), listener)
    console.print(
        f"{activity}: {'real time' if point.real_time else 'too many'}, {_formatted(point)}", soft_wrap=True
    )
    return point


def _listen(load: StreamLoad, tokens: NDArray[np.generic]) -> StreamResult:
    utterance = repeated(tokens.astype(np.int64), round(load.duration_s * load.rate_hz))
    codec = load.model.removesuffix("_decode_stream")
    return run_streams(codec, load.url, [ScheduledUtterance(utterance)])[0]


def _formatted(point: Point) -> str:
    result = point.result
    if result.errors:
        return f"{len(result.errors)} streams failed: {result.errors[0]}"
    p50, p95, p99 = (result.percentile_ms(percent) for percent in (50, 95, 99))
    text = f"p50 {p50:.1f}, p95 {p95:.1f}, p99 {p99:.1f}, longest {result.percentile_ms(100):.1f} ms"
    text += f"; {100 * (1 - unanswered_share(result)):.1f} % of {result.load.request_rate_hz:g}/s"
    if point.mean_batch is not None:
        text += f"; {point.mean_batch:.1f} streams per step"
    return text if point.listener is None else f"{text}; a listener: {point.listener.formatted}"


def stream_rows(sweep: Sweep, plan: SweepPlan) -> list[Row]:
    """The most streams served in real time, and the latency at each number of streams."""
    least = _TARGETS.get((sweep.codec, plan.direction), 0)
    last = sweep.points[-1]
    how = f"{plan.direction}, frames of {last.frame_ms:.1f} ms, {plan.seconds:g} s each; "
    how += f"ended at {last.streams}: {_formatted(last)}"
    target = f">= {least}" if least else "none"
    prefix = "" if plan.direction == "decode" else f"{plan.direction}_"
    ok = sweep.knee >= least
    knee = Row(sweep.codec, f"{prefix}{REALTIME}", sweep.knee, "streams", target, ok, how)
    latency = f"{prefix}{LATENCY}"
    return [knee, *(_latency_row(sweep.codec, latency, point) for point in sweep.answered)]


def _latency_row(codec: str, check: str, point: Point) -> Row:
    how = f"streams: {point.streams}; {_formatted(point)}"
    value, low = (point.result.percentile_ms(percent) for percent in (99, 50))
    return Row(codec, check, value, "ms", "none", True, how, low, value, point.streams)
