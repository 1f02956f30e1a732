"""Time every codec beside its peers, in one run, on the same input and threads.

Weights are seeded random ones at full geometry, which cost what trained ones cost. Runs of the sides
alternate; figures are medians, with the lowest and highest of five repeats, and a ratio meets its target if
its worse end does.

Results: a table, and reports/bench.json, in which the rows of the codecs and parts that were measured replace
older ones of the same; with --quick reports/bench-quick.json, of which no page is made.

Examples:
  make bench
  .venv/bin/python -m scripts.bench --quick
  .venv/bin/python -m scripts.bench --codec mimi --only steps recipes
"""

import argparse
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from rich.console import Console

from scripts.bench.int8 import int8_rows, weight_reading_rows
from scripts.bench.machine import machine_rows
from scripts.bench.offline import offline_rows
from scripts.bench.operators import operator_rows
from scripts.bench.recipes import recipe_rows
from scripts.bench.roofline import roofline_rows
from scripts.bench.scaling import scaling_rows
from scripts.bench.step_overhead import step_overhead_rows
from scripts.bench.steps import Sound, step_rows
from scripts.common.prepare import DEFAULT_CODECS, MEASURED, REPOSITORY, build_models, default_checkpoint
from scripts.common.report import Row, in_part, step, write_parts
from tritone_client import Codec
from tritone_client.inputs.audio import read_audio, resampled
from tritone_server.launcher import TritonServer, serving

_PARTS = ("offline", "steps", "recipes", "limits", "operators", "scaling")
_QUICK_PARTS, _QUICK_CODECS = ("offline", "steps", "recipes"), ("nanocodec", "mimi")
_SCALED = ("nanocodec", "lfsc", "mimi", "moss_shallow")
"""One of each network."""


def main() -> int:
    """Entry point; 1 when a row falls short."""
    options, console = _options(), Console()
    os.environ["RAYON_NUM_THREADS"] = str(options.threads)  # read by rustymimi
    torch.set_num_threads(options.threads)
    build_models([(codec, default_checkpoint(codec)) for codec in options.codec])
    name = "bench-quick" if options.quick else "bench"
    return 0 if write_parts(name, _measured(options, console), console) else 1


def _measured(options: argparse.Namespace, console: Console) -> Iterator[list[Row]]:
    """The rows of the machine, then of each codec."""
    machine: list[Row] = []
    if "limits" in options.only:
        with step(console, "timing the machine"):
            machine = machine_rows(options.threads)
        yield in_part("limits", machine)
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
        with step(console, f"timing {name}: {part}"):
            rows += in_part(part, measured[part]())
    if options.int8:
        with step(console, f"timing steps of {name} in INT8"):
            rows += in_part("int8", int8_rows(name, threads, sound))
    return rows


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--codec", choices=list(MEASURED), nargs="+", help=f"default: {', '.join(DEFAULT_CODECS)}"
    )
    parser.add_argument("--only", choices=_PARTS, nargs="+", help="parts (default: all)")
    parser.add_argument(
        "--quick",
        action="store_true",
        help=f"unless told, {' and '.join(_QUICK_CODECS)} and their {', '.join(_QUICK_PARTS)} only; "
        "fewer rounds",
    )
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="of either side (%(default)s)")
    parser.add_argument(
        "--int8", action="store_true", help="also with weights in INT8: networks of transformers"
    )
    options = parser.parse_args()
    options.codec = options.codec or (_QUICK_CODECS if options.quick else DEFAULT_CODECS)
    options.only = options.only or (_QUICK_PARTS if options.quick else _PARTS)
    return options


def _sound(codec: Codec) -> Sound:
    audio, rate_hz = read_audio(Path("samples/speech.wav"))
    own_hz = codec.info.sample_rate_hz
    audio = resampled(audio, rate_hz, own_hz)
    return Sound(codec.info, audio, codec.encode(audio, own_hz))


if __name__ == "__main__":
    sys.exit(main())
