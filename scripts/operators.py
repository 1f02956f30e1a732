"""Where the time of a live step goes: by operator of ONNX Runtime, and outside of it.

Examples:
  PYTHONPATH=backends/onnxruntime .venv/bin/python scripts/operators.py mimi --streams 8
  PYTHONPATH=backends/onnxruntime .venv/bin/python scripts/operators.py nanocodec --role decode_stream
"""

import argparse
import json
import os
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from bench_sessions import BareStreams
from prepare import MEASURED, PrepareError, build_models, default_checkpoint
from tritone_build.codecs import outline_of

__all__ = ["Profile", "main", "profile_of"]

_WARM, _STEPS = 10, 40


class Profile:
    """Milliseconds of one step: in all, and by operator."""

    def __init__(self, whole_ms: float, operators: Mapping[str, float]):
        self.whole_ms, self.operators = whole_ms, operators

    @property
    def outside_ms(self) -> float:
        """What no operator took: the session's own work, and ours with the state of the streams."""
        return self.whole_ms - sum(self.operators.values())


def main() -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("codec", choices=list(MEASURED))
    parser.add_argument("--role", choices=["decode_stream", "encode_stream"], default="decode_stream")
    parser.add_argument("--streams", type=int, default=1, help="in a step (%(default)s)")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="%(default)s")
    options = parser.parse_args()
    try:
        build_models([(options.codec, default_checkpoint(options.codec))])
    except PrepareError as error:
        print(f"operators: {error}", file=sys.stderr)
        return 1
    profile = profile_of(options.codec, options.role, options.streams, options.threads)
    table = Table("operator", "ms per step", "share", title=f"{options.codec}, streams: {options.streams}")
    rows = [
        *sorted(profile.operators.items(), key=lambda row: -row[1]),
        ("outside of operators", profile.outside_ms),
    ]
    for name, taken in rows:
        table.add_row(name, f"{taken:.2f}", f"{taken / profile.whole_ms:.0%}")
    table.add_row("all", f"{profile.whole_ms:.2f}", "")
    Console().print(table)
    return 0


def profile_of(codec: str, role: str, streams: int, threads: int, repository: Path | None = None) -> Profile:
    """Steps of one frame of random input, the time of the profile's own writing included."""
    with tempfile.TemporaryDirectory() as scratch:
        live = BareStreams(codec, role, threads, repository, Path(scratch, "profile"))
        data = _data(codec, role, streams)
        for _ in range(_WARM):
            live.step(data)
        begun = time.perf_counter()
        for _ in range(_STEPS):
            live.step(data)
        whole_ms = 1000 * (time.perf_counter() - begun) / _STEPS
        events = json.loads(live.runner.profiled().read_text())
    return Profile(whole_ms, _by_operator(events))


def _data(codec: str, role: str, streams: int) -> np.ndarray[tuple[int, ...], np.dtype[np.generic]]:
    g, draw = outline_of(MEASURED[codec]).geometry, np.random.default_rng(0)
    if role == "decode_stream":
        return draw.integers(0, g.codebook_size, (streams, g.default_codebooks, 1))
    return (0.1 * draw.standard_normal((streams, g.samples_per_frame))).astype(np.float32)


def _by_operator(events: list[dict[str, object]]) -> Mapping[str, float]:
    """Of the last steps; what warmed up comes first."""
    runs = [event for event in events if event["name"] == "model_run"]
    since = int(str(runs[_WARM]["ts"])) if len(runs) > _WARM else 0
    found: defaultdict[str, float] = defaultdict(float)
    for event in events:
        arguments = event.get("args")
        if event["cat"] != "Node" or not isinstance(arguments, dict) or int(str(event["ts"])) < since:
            continue
        if str(event["name"]).endswith("_kernel_time"):
            found[str(arguments["op_name"])] += int(str(event["dur"])) / 1000 / _STEPS
    return found


if __name__ == "__main__":
    sys.exit(main())
