"""Measure codecs on a GPU, on a machine that one has for an hour: no network, no TensorRT, nothing installed.

torch      steps of live streams: eager, with folded weights, as CUDA graphs, by torch.compile
precision  FP16 and TF32 against FP32 on speech, the device against the CPU
live       live streams at real-time pace, through the server and in one process: how many are in time
state      where the state of streams is kept between steps
others     ONNX Runtime and TensorRT, where they are installed

Points are measured in order of importance until the time is up; the rest is reported as skipped. A point that
fails costs only itself. Weights are seeded random ones, which take as long as trained ones, but for the codec
that the package contains.

Results: reports/gpu.jsonl, one line for each value, written at once; later runs append. A table at the end.

Examples:
  .venv/bin/python -m scripts.gpu
  .venv/bin/python -m scripts.gpu --minutes 9 --out results --continue
  .venv/bin/python -m scripts.gpu --only live --codec mimi
  .venv/bin/python -m scripts.gpu --device cpu --tiny    # rehearse everything without a GPU
"""

import argparse
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import torch
from rich.console import Console

from scripts.common.cli import add_codec_option, argument_parser
from scripts.gpu.points import CODECS, PARTS, Point, Settings, SkippedError, codecs_by_default, planned
from scripts.gpu.report import Report, measured_before
from scripts.gpu.workers import Workers

_REPORT = Path("reports/gpu.jsonl")
_LEAST_S = 5.0
"""A point that has less time is not begun."""


def main() -> int:
    """Entry point; returns 1 if every point failed, 130 if interrupted."""
    options = _options()
    if options.device == "cuda" and not torch.cuda.is_available():
        print("gpu: PyTorch finds no CUDA GPU; --device cpu --tiny rehearses without one", file=sys.stderr)
        return 1
    settings = Settings(options.device, options.tiny)
    codecs = options.codec or codecs_by_default(options.tiny)
    points = planned(codecs, [part for part in PARTS if part in options.only], settings)
    if options.continued:
        done = measured_before(_REPORT, points, settings)
        points = [point for point in points if point not in done]
    files = [_REPORT, *([options.out / _REPORT.name] if options.out else [])]
    report = Report(files, settings)
    interrupted = not _measured_all(points, settings, report, 60 * options.minutes, _Interrupt())
    report.print_table(Console())
    print(f"written to {', '.join(map(str, files))}")
    return 130 if interrupted else int(report.only_errors)


class _Interrupt:
    """Remembers that a signal came: Python drops the exception where a destructor or a callback raises it."""

    def __init__(self) -> None:
        self.came = False
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._raise)

    def _raise(self, *_: object) -> None:
        self.came = True
        raise KeyboardInterrupt

    def check(self) -> None:
        """Raise KeyboardInterrupt if a signal came before."""
        if self.came:
            raise KeyboardInterrupt


def _measured_all(
    points: Sequence[Point], settings: Settings, report: Report, seconds: float, interrupt: _Interrupt
) -> bool:
    """Measure the points in turn; False if that was interrupted."""
    until, begun, reason = time.monotonic() + seconds, 0, "out of time"
    try:
        with Workers(settings) as workers:
            for point in points:
                left = until - time.monotonic()
                if left < _LEAST_S:
                    break
                interrupt.check()
                begun += 1
                limit_s = left if settings.tiny else min(point.limit_s, left)
                for outcome in workers.outcomes(point, limit_s):
                    report.add(point, outcome)
                interrupt.check()
    except KeyboardInterrupt:
        reason = "interrupted"
    for point in points[begun:]:
        report.add(point, SkippedError(reason))
    return reason != "interrupted"


def _options() -> argparse.Namespace:
    parser = argument_parser("scripts.gpu", __doc__)
    add_codec_option(parser, CODECS, codecs_by_default(tiny=False))
    parser.add_argument(
        "--only", nargs="+", choices=PARTS, default=PARTS, help="parts to measure (default: all)"
    )
    parser.add_argument(
        "--minutes", type=float, default=9.0, help="when to stop; 9 fit a command of 10 (%(default)g)"
    )
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="write gpu.jsonl into this folder too")
    parser.add_argument(
        "--continue",
        action="store_true",
        dest="continued",
        help=f"leave out what {_REPORT} has a value for on this device",
    )
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda", help="default: %(default)s")
    parser.add_argument("--tiny", action="store_true", help="rehearse: small codecs, few streams")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
