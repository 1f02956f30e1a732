"""Print where the time of a live step goes: by operator of ONNX Runtime, by matrix product, and around them.

``scripts.bench --only operators`` writes the same into its report, for the slowest codecs.

Examples:
  .venv/bin/python -m scripts.bench.profile mimi --streams 8
  .venv/bin/python -m scripts.bench.profile nanocodec --role decode_stream
"""

import os
import sys

import numpy as np
from rich.console import Console
from rich.table import Table

from scripts.bench.operators import profile_of, profile_rows
from scripts.bench.sessions import Array
from scripts.common.cli import argument_parser
from scripts.common.prepare import MEASURED, PrepareError, build_models, default_checkpoint
from tritone_build.codecs import outline_of

__all__ = ["main"]


def main() -> int:
    """Entry point; returns 1 with the reason when the models cannot be built."""
    parser = argument_parser("scripts.bench.profile", __doc__)
    parser.add_argument("codec", choices=list(MEASURED), help="codec to profile; built if need be")
    parser.add_argument(
        "--role",
        choices=["decode_stream", "encode_stream"],
        default="decode_stream",
        help="streaming model to profile (default: %(default)s)",
    )
    parser.add_argument("--streams", type=int, default=1, help="in a step (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="of a step (%(default)s)")
    options = parser.parse_args()
    try:
        build_models([(options.codec, default_checkpoint(options.codec))])
    except PrepareError as error:
        print(f"bench.profile: {error}", file=sys.stderr)
        return 1
    data = _data(options.codec, options.role, options.streams)
    profile = profile_of(options.codec, options.role, data, options.threads)
    step, *parts = profile_rows(options.codec, profile, f"{options.role}, streams: {options.streams}")
    table = Table("part", "ms per step", "share", "details", title=f"{options.codec}: {step.how}")
    for row in parts:
        table.add_row(row.check, f"{row.value:.2f}", f"{row.value / step.value:.0%}", row.how)
    table.add_row("all", f"{step.value:.2f}", "", "")
    Console().print(table)
    return 0


def _data(codec: str, role: str, streams: int) -> Array:
    """One frame of random input per stream."""
    g, draw = outline_of(MEASURED[codec]).geometry, np.random.default_rng(0)
    if role == "decode_stream":
        return draw.integers(0, g.codebook_size, (streams, g.default_codebooks, 1))
    return (0.1 * draw.standard_normal((streams, g.encode_samples_per_frame))).astype(np.float32)


if __name__ == "__main__":
    sys.exit(main())
