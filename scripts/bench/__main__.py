"""Time every codec beside its peers, in one run, on the same input and with the same number of threads.

offline    whole utterances beside the authors' networks, the overhead of Triton, and memory
steps      one frame of live streams beside peers that keep streams, and the overhead around a step
recipes    a live step of ours beside public recipes that have no streaming model
limits     how much of a step's time the machine's arithmetic and memory bandwidth explain
operators  where the time of a step goes, by operator of ONNX Runtime
scaling    the cost of a frame by frames per request, rows per batch, live streams and threads

Weights are seeded random ones at full geometry, which cost what trained ones cost. The sides run in turn;
figures are medians, with the lowest and highest of five repeats. A ratio meets its target if the worse end of
its range does.

Results: a table and reports/bench.json, where the new rows replace those of the same codecs and parts. With
--quick they go to reports/bench-quick.json, which docs/benchmarks.md does not use.

Examples:
  make bench
  .venv/bin/python -m scripts.bench --quick
  .venv/bin/python -m scripts.bench --codec mimi --only steps recipes
"""

import argparse
import os
import sys
from collections.abc import Iterator, Sequence

import torch
from rich.console import Console

from scripts.bench.in_process import in_process_rows
from scripts.bench.int8 import int8_rows
from scripts.bench.machine import machine_rows
from scripts.bench.offline import offline_rows
from scripts.bench.operators import operator_rows
from scripts.bench.recipes import recipe_rows
from scripts.bench.roofline import roofline_rows, weight_reading_rows
from scripts.bench.scaling import scaling_rows
from scripts.bench.sessions import NEAR_COPIES
from scripts.bench.step_overhead import step_overhead_rows
from scripts.bench.steps import Sound, step_rows
from scripts.common.cli import add_codec_option, argument_parser
from scripts.common.prepare import DEFAULT_CODECS, MEASURED, REPOSITORY, build_models, default_checkpoint
from scripts.common.report import Row, progress, with_part, write_parts
from scripts.common.speech_inputs import speech_of
from tritone_client import Codec
from tritone_server.launcher import TritonServer, serving

_PARTS = ("offline", "steps", "in_process", "recipes", "limits", "operators", "scaling")
_QUICK_PARTS, _QUICK_CODECS = ("offline", "steps", "in_process", "recipes"), ("nanocodec", "mimi")
_SCALED = ("nanocodec", "mimi")
"""One codec with convolutions, one with a transformer."""
_PARTS_OF_NEAR_COPIES = ("steps",)
"""What is measured of them unless one is asked for by itself."""


def main() -> int:
    """Entry point; returns 1 when a row misses its target."""
    options, console = _options(), Console()
    os.environ["RAYON_NUM_THREADS"] = str(options.threads)  # read by rustymimi
    torch.set_num_threads(options.threads)
    build_models([(codec, default_checkpoint(codec)) for codec in options.codec])
    name = "bench-quick" if options.quick else "bench"
    return 0 if write_parts(name, _measured(options, console), console) else 1


def _measured(options: argparse.Namespace, console: Console) -> Iterator[list[Row]]:
    """Yield the rows of the machine, then those of each codec."""
    machine: list[Row] = []
    if "limits" in options.only:
        with progress(console, "timing the machine"):
            machine = machine_rows(options.threads)
        yield with_part("limits", machine)
    for name in options.codec:
        with serving(REPOSITORY, [name]) as server, Codec(name, server.url) as codec:
            rows = _codec_rows(codec, server, options, machine, console)
        yield rows


def _codec_rows(
    codec: Codec, server: TritonServer, options: argparse.Namespace, machine: Sequence[Row], console: Console
) -> list[Row]:
    sound, name, threads = _sound(codec), codec.name, options.threads
    measured = {
        "offline": lambda: offline_rows(codec, server, sound, threads, options.quick),
        "steps": lambda: [
            *step_rows(name, threads, sound, options.quick),
            *step_overhead_rows(codec, server, sound, options.quick),
        ],
        "in_process": lambda: in_process_rows(name, sound, options.quick),
        "recipes": lambda: recipe_rows(name, threads, sound, options.quick),
        "limits": lambda: [
            *roofline_rows(name, threads, sound, machine),
            *weight_reading_rows(name, threads, sound, machine),
        ],
        "operators": lambda: operator_rows(name, threads, sound),
        "scaling": lambda: scaling_rows(name, threads, sound) if name in _SCALED else [],
    }
    rows = []
    for part in options.only:
        if name in NEAR_COPIES and part not in _PARTS_OF_NEAR_COPIES and len(options.codec) > 1:
            continue
        with progress(console, f"timing {name}: {part}"):
            rows += with_part(part, measured[part]())
    if options.int8:
        with progress(console, f"timing steps of {name} in INT8"):
            rows += with_part("int8", int8_rows(name, threads, sound))
    return rows


def _options() -> argparse.Namespace:
    parser = argument_parser("scripts.bench", __doc__)
    add_codec_option(parser, MEASURED, DEFAULT_CODECS)
    parser.add_argument("--only", choices=_PARTS, nargs="+", help="parts to measure (default: all)")
    parser.add_argument(
        "--quick",
        action="store_true",
        help=f"fewer rounds; without --codec and --only, measure {', '.join(_QUICK_PARTS)} of "
        f"{' and '.join(_QUICK_CODECS)}",
    )
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="of each side (%(default)s)")
    parser.add_argument(
        "--int8",
        action="store_true",
        help="also time a step with INT8 weights; for codecs with transformers (mimi, moss)",
    )
    options = parser.parse_args()
    options.codec = options.codec or (_QUICK_CODECS if options.quick else DEFAULT_CODECS)
    options.only = options.only or (_QUICK_PARTS if options.quick else _PARTS)
    return options


def _sound(codec: Codec) -> Sound:
    audio = speech_of(codec)
    return Sound(codec.info, audio, codec.encode(audio, codec.info.encode_sample_rate_hz))


if __name__ == "__main__":
    sys.exit(main())
