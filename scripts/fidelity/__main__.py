"""Compare every codec, through a real Triton server, with its authors' implementation and with itself.

Weights are the trained ones of nanocodec_mini and seeded random ones at full geometry for the rest; the
input is the repository's speech sample.

Examples:
  make fidelity
  .venv/bin/python -m scripts.fidelity --codec lfsc
  .venv/bin/python -m scripts.fidelity --codec mimi --quick --only isolation long
"""

import argparse
import sys

from rich.console import Console

from scripts.common.prepare import (
    DEFAULT_CODECS,
    MEASURED,
    REPOSITORY,
    build_engines,
    build_models,
    default_checkpoint,
)
from scripts.common.report import Row, step, write_report
from scripts.fidelity.bounded_replay import replay_rows
from scripts.fidelity.case import FULL, QUICK, Case, Durations
from scripts.fidelity.half_precision import compile_rows, fp16_rows
from scripts.fidelity.offline import offline_rows, reference_rows
from scripts.fidelity.quality import quality_rows
from scripts.fidelity.streams import chunking_rows, isolation_rows, long_rows
from scripts.train.speech_synthesis import SynthesizerError
from tritone_client import Codec
from tritone_client.transport.grpc_transport import Transport
from tritone_server.launcher import TritonServer, serving

_TIMEOUT_S = 600
_CHECKS = {
    "reference": ("against its authors' network", reference_rows),
    "offline": ("in batches and in pieces", offline_rows),
    "cut": ("as streams, however they are cut", chunking_rows),
    "isolation": ("as streams that run together", isolation_rows),
    "compiled": ("as TensorRT compiles it", compile_rows),
    "half": ("in FP16", fp16_rows),
    "long": ("as long streams", long_rows),
    "replay": ("as streams that were moved with part of their past", replay_rows),
    "quality": ("by how speech sounds", quality_rows),
}
_COMPILED = {"compiled", "half", "quality"}


def main() -> int:
    """Entry point; 1 when a row falls short."""
    options, console = _options(), Console()
    checkpoints = [(codec, default_checkpoint(codec)) for codec in options.codec]
    build_models(checkpoints)
    if _COMPILED.intersection(options.only):
        build_engines(checkpoints)
    rows: list[Row] = []
    with serving(REPOSITORY, options.codec) as server:
        for name in options.codec:
            rows += _rows(name, server, QUICK if options.quick else FULL, options.only, console)
    write_report("fidelity", rows, console)
    return 0 if all(row.ok for row in rows) else 1


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--codec",
        choices=list(MEASURED),
        nargs="+",
        default=DEFAULT_CODECS,
        help=f"default: {', '.join(DEFAULT_CODECS)}",
    )
    parser.add_argument(
        "--only", choices=list(_CHECKS), nargs="+", default=list(_CHECKS), help="checks (default: all)"
    )
    parser.add_argument("--skip-long", action="store_true", help="no long streams, which take most of it")
    parser.add_argument("--quick", action="store_true", help="seconds instead of minutes: not for the record")
    options = parser.parse_args()
    if options.skip_long:
        options.only = [check for check in options.only if check != "long"]
    return options


def _rows(
    name: str, server: TritonServer, durations: Durations, checks: list[str], console: Console
) -> list[Row]:
    rows: list[Row] = []
    with Codec(name, server.url, _TIMEOUT_S) as codec:
        case = Case(codec, Transport(server.url, _TIMEOUT_S), server, durations)
        for check in checks:
            told, compared = _CHECKS[check]
            try:
                with step(console, f"{name} {told}"):
                    rows += compared(case)
            except SynthesizerError as error:
                console.print(f"[yellow]{name} {told}: left out[/]; {error}")
    return rows


if __name__ == "__main__":
    sys.exit(main())
