"""Compare every codec, through a real Triton server, with its authors' implementation and with itself.

reference  against the authors' network with the same weights
offline    batched requests against single ones, and long inputs against inputs in pieces
cut        streams in pushes of different sizes against a single request
isolation  streams that run together against the same streams alone
compiled   time and memory of compiling with TensorRT-RTX
half       FP16 against FP32
long       the end of a long stream, and the server's memory
replay     streams that failed over with part of their past
windows    ways in which other projects stream, against decoding in one piece
quality    STOI, PESQ and word errors of speech, for codecs with trained weights

nanocodec_mini has its trained weights; all other codecs get seeded random ones at full geometry. The input is
the repository's speech sample. Results: a table and reports/fidelity.json.

Examples:
  make fidelity
  .venv/bin/python -m scripts.fidelity --codec lfsc
  .venv/bin/python -m scripts.fidelity --codec mimi --quick --only isolation long
"""

import argparse
import sys
from collections.abc import Iterator

from rich.console import Console

from scripts.common.cli import add_codec_option, argument_parser
from scripts.common.prepare import (
    DEFAULT_CODECS,
    MEASURED,
    REPOSITORY,
    build_engines,
    build_models,
    default_checkpoint,
)
from scripts.common.report import Row, progress, write_report
from scripts.fidelity.bounded_replay import replay_rows
from scripts.fidelity.case import FULL, QUICK, Case, Durations
from scripts.fidelity.half_precision import compile_rows, fp16_rows
from scripts.fidelity.offline import offline_rows, reference_rows
from scripts.fidelity.quality import quality_rows
from scripts.fidelity.streams import chunking_rows, isolation_rows, long_rows
from scripts.fidelity.windows import other_stream_rows
from scripts.train.speech_synthesis import SynthesizerError
from tritone_client import Codec
from tritone_client.transport.grpc_transport import Transport
from tritone_runtime.limits import LONGEST_CALL_S
from tritone_server.launcher import TritonServer, serving

_TIMEOUT_S = 600
_CHECKS = {
    "reference": ("against the authors' network", reference_rows),
    "offline": ("in batches and in pieces", offline_rows),
    "cut": ("as streams in pushes of different sizes", chunking_rows),
    "isolation": ("as streams that run together", isolation_rows),
    "compiled": ("as TensorRT compiles it", compile_rows),
    "half": ("in FP16", fp16_rows),
    "long": ("as long streams", long_rows),
    "replay": ("as streams that failed over with part of their past", replay_rows),
    "windows": ("as other projects stream it", other_stream_rows),
    "quality": ("by its speech quality", quality_rows),
}
_COMPILED = {"compiled", "half", "quality"}


def main() -> int:
    """Entry point; returns 1 when a row misses its target."""
    options, console = _options(), Console()
    checkpoints = [(codec, default_checkpoint(codec)) for codec in options.codec]
    build_models(checkpoints)
    if _COMPILED.intersection(options.only):
        build_engines(checkpoints)
    rows: list[Row] = []
    try:
        with serving(REPOSITORY, options.codec) as server:
            for name in options.codec:
                for row in _rows(name, server, QUICK if options.quick else FULL, options.only, console):
                    rows.append(row)
    finally:  # what was measured before an error is kept
        write_report("fidelity", rows, console)
    return 0 if all(row.ok for row in rows) else 1


def _options() -> argparse.Namespace:
    parser = argument_parser("scripts.fidelity", __doc__)
    add_codec_option(parser, MEASURED, DEFAULT_CODECS)
    parser.add_argument(
        "--only", choices=list(_CHECKS), nargs="+", default=list(_CHECKS), help="checks (default: all)"
    )
    parser.add_argument(
        "--skip-long", action="store_true", help="leave out the long streams, which take most of the time"
    )
    parser.add_argument("--quick", action="store_true", help="shorter comparisons, for a first look")
    options = parser.parse_args()
    options.codec = options.codec or DEFAULT_CODECS
    if options.skip_long:
        options.only = [check for check in options.only if check != "long"]
    return options


def _rows(
    name: str, server: TritonServer, durations: Durations, checks: list[str], console: Console
) -> Iterator[Row]:
    with Codec(name, server.url, _TIMEOUT_S) as codec:
        raw = Transport(server.url, _TIMEOUT_S)
        longest_s = float(raw.parameters(f"{name}_decode").get("longest_call_s", LONGEST_CALL_S))
        case = Case(codec, raw, server, durations.within(longest_s))
        for check in checks:
            description, compare = _CHECKS[check]
            try:
                with progress(console, f"{name} {description}"):
                    yield from compare(case)
            except SynthesizerError as error:
                console.print(f"[yellow]{name} {description}: left out[/]; {error}")


if __name__ == "__main__":
    sys.exit(main())
