"""Find how many live streams each codec serves in real time, with NVIDIA's perf_analyzer.

For each number of streams, every stream sends one frame when it is due (every 80 ms at 12.5 frames
per second) and is answered in turn; streams end and others begin, as callers do. A number of
streams is served in real time if 99 % of the answers come before the next frame is due, at least
99 % of the frames are answered, and no stream is failed. Numbers rise until answers are late twice
in a row, or the server is saturated. Weights are seeded random ones at full geometry, which cost
what trained ones cost; tokens are those of the repository's speech sample.

perf_analyzer runs on this machine too and takes some of it, about a tenth of a core at 16 streams.
Results: a table, reports/load.json and the picture reports/load.png.

Examples:
  make load
  .venv/bin/python scripts/load.py --codec nanocodec --streams 4,5,6,7 --seconds 60
  .venv/bin/python scripts/load.py --codec nanocodec --dry-run
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from google.protobuf import text_format
from numpy.typing import NDArray
from rich.console import Console
from tritonclient.grpc import model_config_pb2 as pb

from load_picture import draw
from perf_analyzer import Load, PerfAnalyzerError, find_perf_analyzer, measure
from prepare import MEASURED, REPOSITORY, PrepareError, build_models, default_checkpoint
from report import Row, write_report
from stream_metrics import mean_batch, steps_by_batch
from sweep import Point, Sweep
from tritone_client import Codec, TritoneError
from tritone_client.audio import read_audio, resampled
from tritonserver import ServerError, TritonServer, serving
from wheels import WheelError

__all__ = ["main", "write_inputs"]

_TARGETS = {("mimi", "decode"): 20, ("nanocodec", "decode"): 5}
_STREAMS = "1,2,3,4,5,6,8,12,16,20,24,28"
_SPEECH, _PICTURE = Path("samples/speech.wav"), Path("reports/load.png")
_SEQUENCES = 6


class LoadError(RuntimeError):
    """There is nothing to put load on; the message says what is missing."""


def main() -> int:
    """Entry point; 1 when a row falls short, or with the reason why nothing was measured."""
    options, console = _options(), Console()
    try:
        if options.repository is None:
            options.repository = REPOSITORY
            if not options.dry_run:
                build_models([(codec, default_checkpoint(codec)) for codec in options.codec])
        if options.dry_run:
            _print_commands(options)
            return 0
        sweeps = [_served_sweep(options, codec, console) for codec in options.codec]
    except (LoadError, PerfAnalyzerError, ServerError, WheelError, PrepareError, TritoneError) as error:
        print(f"load: {error}", file=sys.stderr)
        return 1
    rows = [row for sweep in sweeps for row in _rows(sweep, options)]
    write_report("load", rows, console)
    draw(_PICTURE, sweeps)
    console.print(f"picture: {_PICTURE}")
    return 0 if all(row.ok for row in rows) else 1


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    targeted = [codec for codec in MEASURED if (codec, "decode") in _TARGETS]
    parser.add_argument(
        "--codec", choices=list(MEASURED), nargs="+", default=targeted, help=f"default: {' '.join(targeted)}"
    )
    parser.add_argument(
        "--direction",
        choices=["decode", "encode"],
        default="decode",
        help="tokens to sound, as after a language model, or sound to tokens (%(default)s)",
    )
    parser.add_argument(
        "--streams",
        type=_counts,
        default=_STREAMS,
        help="numbers of live streams to try, rising (%(default)s)",
    )
    parser.add_argument(
        "--seconds", type=float, default=20.0, help="measured for each; its p99 rests on them (%(default)s)"
    )
    parser.add_argument(
        "--repository", type=Path, help=f"serve this one as it is (default: build {REPOSITORY})"
    )
    parser.add_argument("--dry-run", action="store_true", help="print perf_analyzer's command lines only")
    return parser.parse_args()


def _counts(text: str) -> list[int]:
    counts = sorted({int(each) for each in text.split(",")})
    if counts[0] < 1:
        raise argparse.ArgumentTypeError(f"numbers of streams are at least 1, got {counts[0]}")
    return counts


def _loads(options: argparse.Namespace, model: str, url: str, inputs: Path) -> Iterator[Load]:
    """One per number of streams, at the frame rate that the model's configuration states."""
    path = options.repository / model / "config.pbtxt"
    if not path.exists():
        raise LoadError(
            f"{path} is missing: the models are not built ('make models'), or this codec has no such model "
            "because that half of it looks ahead"
        )
    parameters = text_format.Parse(path.read_text(), pb.ModelConfig()).parameters
    sample_rate, hop = (int(parameters[name].string_value) for name in ("sample_rate", "samples_per_frame"))
    for streams in options.streams:
        yield Load(url, model, inputs, streams, sample_rate / hop, options.seconds)


def _print_commands(options: argparse.Namespace) -> None:
    executable, _ = find_perf_analyzer()
    for codec in options.codec:
        for load in _loads(
            options, f"{codec}_{options.direction}_stream", "127.0.0.1:8001", Path("inputs.json")
        ):
            print(" ".join(load.command(executable, Path("answers.json"))))


def _served_sweep(options: argparse.Namespace, codec: str, console: Console) -> Sweep:
    model = f"{codec}_{options.direction}_stream"
    with tempfile.TemporaryDirectory() as scratch:
        inputs = Path(scratch, "inputs.json")
        list(_loads(options, model, "", inputs))  # before the server starts: is the model there?
        with serving(options.repository, [codec]) as server:
            name, frames = _frames(codec, options.direction, server)
            write_inputs(inputs, name, frames)
            points: list[Point] = []
            for load in _loads(options, model, server.url, inputs):
                points.append(_point(load, server, console))
                if Sweep(codec, model, points).over:
                    break
    return Sweep(codec, model, points)


def _frames(codec: str, direction: str, server: TritonServer) -> tuple[str, NDArray[np.generic]]:
    """The name of a stream model's input, and the speech sample as such inputs [frames, ...]."""
    audio, rate_hz = read_audio(_SPEECH)
    with Codec(codec, server.url) as client:
        if direction == "decode":
            return "tokens", client.encode(audio, rate_hz).T[:, :, None]
        own_hz, hop = client.info.sample_rate_hz, client.info.samples_per_frame
    audio = resampled(audio, rate_hz, own_hz)
    return "audio", audio[: len(audio) // hop * hop].reshape(-1, hop)


def write_inputs(path: Path, name: str, frames: NDArray[np.generic]) -> None:
    """Sequences for perf_analyzer, one request per frame.

    Each starts elsewhere in ``frames`` [T, ...] and is of another length, so streams neither say the
    same nor end together.
    """
    steps = [{name: {"content": frame.ravel().tolist(), "shape": list(frame.shape)}} for frame in frames]
    count = len(steps)
    sequences = []
    for index in range(_SEQUENCES):
        start = index * count // _SEQUENCES
        sequences.append((steps[start:] + steps[:start])[: count - index * count // (2 * _SEQUENCES)])
    path.write_text(json.dumps({"data": sequences}))


def _point(load: Load, server: TritonServer, console: Console) -> Point:
    doing = f"{load.model}, live streams: {load.streams}, {load.asked_hz:g} frames/s"
    metrics = f"http://{server.host}:{server.ports.metrics}/metrics"
    before = steps_by_batch(metrics, load.model)
    with console.status(doing) as status:
        result = measure(load, lambda gone: status.update(f"{doing}, {gone:.0f} of {load.duration_s:.0f} s"))
    point = Point(result, mean_batch(before, steps_by_batch(metrics, load.model)))
    console.print(
        f"{doing}: {'real time' if point.real_time else 'too many'}, {_told(point)}", soft_wrap=True
    )
    return point


def _told(point: Point) -> str:
    result = point.result
    if result.errors:
        return f"{len(result.errors)} streams failed: {result.errors[0]}"
    p50, p95, p99 = (result.percentile_ms(percent) for percent in (50, 95, 99))
    told = f"p50 {p50:.1f}, p95 {p95:.1f}, p99 {p99:.1f}, longest {result.percentile_ms(100):.1f} ms"
    told += f"; {100 * (1 - result.missing_share):.1f} % of {result.load.asked_hz:g}/s"
    return told if point.mean_batch is None else f"{told}; {point.mean_batch:.1f} streams per step"


def _rows(sweep: Sweep, options: argparse.Namespace) -> list[Row]:
    wanted = _TARGETS.get((sweep.codec, options.direction), 0)
    last = sweep.points[-1]
    how = f"{options.direction}, frames of {last.frame_ms:.1f} ms, {options.seconds:g} s each; "
    how += f"ended at {last.streams}: {_told(last)}"
    target = f">= {wanted}" if wanted else "none"
    knee = Row(sweep.codec, "realtime_streams", sweep.knee, "streams", target, sweep.knee >= wanted, how)
    return [knee, *(_latency_row(sweep.codec, point) for point in sweep.answered)]


def _latency_row(codec: str, point: Point) -> Row:
    how = f"streams: {point.streams}; {_told(point)}"
    return Row(codec, "latency_p99", point.result.percentile_ms(99), "ms", "none", True, how)


if __name__ == "__main__":
    sys.exit(main())
