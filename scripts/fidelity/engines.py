"""Compile every codec's engines at full size, with TensorRT-RTX on this machine's CPU, and inspect them.

Each engine must have every profile and hold its weights in FP16. It must have been compiled within the memory
of a small machine, and from a graph that computes what the network computes in FP32. Codecs without weights
in this repository get random ones. Engines that are up to date are not compiled again.

Examples:
  make engines-check
  .venv/bin/python -m scripts.fidelity.engines --quick
  .venv/bin/python -m scripts.fidelity.engines --codec mimi lfsc
"""

import argparse
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from scripts.common.cli import argument_parser
from scripts.common.prepare import ENGINES, MEASURED, PrepareError, build_engines, default_checkpoint
from tritone_build.codecs import outline_of
from tritone_build.engines.engine import engine_roles
from tritone_build.engines.profiles import profiles_of
from tritone_build.graphs.roles import roles
from tritone_build.repository.configs import model_name
from tritone_runtime.manifests import ENGINE_FILE, read_manifest

__all__ = ["CODECS", "main", "profiles_by_role", "shortcomings"]

CODECS = (
    *("nanocodec", "nanocodec_1890bps", "nanocodec_mini", "lfsc", "spectral_25fps"),
    *("mimi", "moss_shallow", "moss_nano", "qwen3_tts_12hz"),
    *("snac_24khz", "snac_32khz", "dac_44khz", "dac_24khz", "higgs_v2"),
)
"""One codec of each network: nanocodec_1780bps is like nanocodec, moss_v2 like moss_nano, snac_44khz like
snac_32khz, and dac_16khz like dac_24khz. ``--codec`` takes any codec."""
_QUICK = ("nanocodec_mini",)
_MIN_DB, _MIN_EQUAL, _MIN_FP16, _MAX_MB = 50.0, 0.95, 0.6, 8000.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; returns 1 when an engine was not compiled or fails a check."""
    options, started = _options(arguments), time.monotonic()
    codecs = _QUICK if options.quick else options.codec
    print(f"compiling the engines of {', '.join(codecs)}; this takes minutes", flush=True)
    try:
        build_engines([(codec, default_checkpoint(codec)) for codec in codecs], options.repository)
    except PrepareError as error:
        print(f"engines-check: {error}", file=sys.stderr)
        return 1
    failed = sum(_print_checks(codec, options.repository) for codec in codecs)
    print(f"{failed} engines fall short, {time.monotonic() - started:.0f} s")
    return 1 if failed else 0


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argument_parser("scripts.fidelity.engines", __doc__)
    chosen = parser.add_mutually_exclusive_group()
    chosen.add_argument(
        "--codec",
        nargs="+",
        choices=MEASURED,
        default=CODECS,
        metavar="CODEC",
        help=f"default: {' '.join(CODECS)}",
    )
    chosen.add_argument("--quick", action="store_true", help=f"only {', '.join(_QUICK)}")
    parser.add_argument(
        "--repository", type=Path, default=ENGINES, help="where the engines are (default: %(default)s)"
    )
    return parser.parse_args(arguments)


def _print_checks(codec: str, repository: Path) -> int:
    """Print a line for each engine of a codec; return how many fail a check."""
    failed = 0
    for role, profiles in profiles_by_role(codec).items():
        model = model_name(codec, role)
        wrong = shortcomings(repository / model / "1", profiles)
        print(f"{model:<34} {'; '.join(wrong) or 'ok'}", flush=True)
        failed += bool(wrong)
    return failed


def profiles_by_role(codec: str) -> dict[str, list[str]]:
    """The names of the profiles that each engine of a codec must have."""
    with torch.device("meta"):
        outline = outline_of(MEASURED[codec])
        parts = engine_roles(roles(outline, "tensorrt"))
        return {part.name: [each.name for each in profiles_of(part, outline.geometry)] for part in parts}


def shortcomings(version: Path, profiles: Sequence[str]) -> list[str]:
    """Descriptions of what is wrong with the engine in a model's version folder; empty if it passes."""
    made, plan = read_manifest(version).get("engine"), version / ENGINE_FILE
    if made is None or not plan.exists():
        return ["no engine was compiled"]
    found, size = [profile["name"] for profile in made["profiles"]], plan.stat().st_size
    wrong = _beyond_limits(made)
    if found != list(profiles):
        wrong.append(f"it has the profiles {', '.join(found)}; expected {', '.join(profiles)}")
    if size != made["bytes"]:
        wrong.append(f"its file has {size} bytes; {made['bytes']} were written")
    return wrong


def _beyond_limits(made: Mapping[str, Any]) -> list[str]:
    """Descriptions of the figures in an engine's manifest that miss their limits or are NaN."""
    fidelity, wrong = made["fidelity"], []
    at_least = {
        "of the weights in FP16": (made["fp16_share_of_weights"], _MIN_FP16),
        "dB from FP32": (fidelity.get("snr_db"), _MIN_DB),
        "of the tokens as in FP32": (fidelity.get("equal_tokens"), _MIN_EQUAL),
    }
    for what, (value, limit) in at_least.items():
        if value is not None and not value >= limit:
            wrong.append(f"{value:g} {what}, at least {limit:g} is expected")
    if not fidelity.keys() & {"snr_db", "equal_tokens"}:
        wrong.append("its graph was not compared with FP32")
    if not made["peak_memory_mb"] <= _MAX_MB:
        wrong.append(f"{made['peak_memory_mb']:g} MB to compile it, at most {_MAX_MB:g} is expected")
    return wrong


if __name__ == "__main__":
    sys.exit(main())
