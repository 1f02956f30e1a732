"""Time every codec beside its peers, in one run, on the same input and threads.

Weights are seeded random ones at full geometry, which cost what trained ones cost. Runs of the two
sides alternate; the figures are medians of the pairs.

Examples:
  make bench
  .venv/bin/python scripts/bench.py --codec nanocodec --threads 1
"""

import argparse
import os
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console

from memory import PeakMemory
from peers import Reference, reference_of
from prepare import REPOSITORY, build_models, seeded_checkpoint
from report import Row, step, write_report
from runner import Runner
from tritone_build.checkpoints import open_checkpoint
from tritone_build.codecs import VARIANTS
from tritone_client import Codec
from tritone_client.audio import read_audio
from tritonserver import TritonServer, serving

_FRAMES = (1, 10, 50, 200)
_PAIRS = {1: 40, 10: 9, 50: 3, 200: 2}
_OVERHEAD_MS, _OVERHEAD_SHARE = 1.0, 0.05
_MEMORY_MB, _MEMORY_S = 1000, 60


def main() -> int:
    """Entry point; 1 when a row falls short."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--codec", choices=list(VARIANTS), nargs="+", default=list(VARIANTS), help="default: all"
    )
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="of either side (%(default)s)")
    options, console = parser.parse_args(), Console()
    build_models([(codec, seeded_checkpoint(codec)) for codec in options.codec])
    rows: list[Row] = []
    torch.set_num_threads(options.threads)
    for name in options.codec:
        with step(console, f"timing {name}"), serving(REPOSITORY, [name]) as server:
            rows += _rows(name, server, options.threads)
    write_report("bench", rows, console)
    return 0 if all(row.ok for row in rows) else 1


def _rows(name: str, server: TritonServer, threads: int) -> list[Row]:
    speech, rate_hz = read_audio(Path("samples/speech.wav"))
    session = _BareSession(name, threads)
    reference = reference_of(open_checkpoint(seeded_checkpoint(name)))
    rows = []
    with Codec(name, server.url) as codec:
        tokens = np.tile(codec.encode(speech, rate_hz), (1, 2))
        for frames in [count for count in _FRAMES if count >= codec.info.min_frames]:
            piece = tokens[:, :frames]
            rows.append(_overhead_row(codec, session, piece))
            if frames > 1:
                rows.append(_network_row(name, session, reference, piece))
        rows.append(_memory_row(codec, server, speech))
    return rows


class _BareSession:
    """The served models on ONNX Runtime in this process, set up as the server sets them up."""

    def __init__(self, codec: str, threads: int):
        self.dequantize, self.vocoder = (
            Runner(REPOSITORY / f"{codec}_{role}" / "1" / "model.onnx", threads)
            for role in ("dequantize", "vocoder")
        )

    def latent(self, tokens: NDArray[np.int64]) -> tuple[NDArray[np.generic], NDArray[np.generic]]:
        length = np.array([[tokens.shape[1]]])
        latent, length_out = self.dequantize.run({"tokens": tokens[None], "tokens_len": length})
        return latent, length_out

    def decode(self, tokens: NDArray[np.int64]) -> None:
        latent, length = self.latent(tokens)
        self.vocoder.run({"latent": latent, "latent_len": length})


def _overhead_row(codec: Codec, session: _BareSession, tokens: NDArray[np.int64]) -> Row:
    frames = tokens.shape[1]
    served, bare = _alternating(lambda: codec.decode(tokens), lambda: session.decode(tokens), _PAIRS[frames])
    value = statistics.median(a - b for a, b in zip(served, bare, strict=True))
    limit = _OVERHEAD_MS + _OVERHEAD_SHARE * statistics.median(bare)
    how = f"{frames} frames, {statistics.median(served):.1f} against {statistics.median(bare):.1f} ms"
    return Row(codec.name, "triton_overhead", value, "ms", f"<= {limit:.2f}", value <= limit, how)


def _network_row(name: str, session: "_BareSession", reference: Reference, tokens: NDArray[np.int64]) -> Row:
    """The decoder network alone, on ONNX Runtime and in the authors' PyTorch."""
    frames = tokens.shape[1]
    latent, length = session.latent(tokens)
    theirs = torch.tensor(latent)

    def ours() -> None:
        session.vocoder.run({"latent": latent, "latent_len": length})

    mine, other = _alternating(ours, lambda: reference.network(theirs), _PAIRS[frames])
    value = statistics.median(a / b for a, b in zip(mine, other, strict=True))
    how = f"{frames} frames, {statistics.median(mine):.1f} against {statistics.median(other):.1f} ms"
    return Row(name, "ort_vs_torch", value, "ratio", "<= 1.0", value <= 1, how)


def _alternating(
    first: Callable[[], object], second: Callable[[], object], pairs: int
) -> tuple[Sequence[float], Sequence[float]]:
    """Milliseconds of either side, after one run of each to warm up."""
    times: tuple[list[float], list[float]] = ([], [])
    for index in range(pairs + 1):
        for side, action in zip(times, (first, second), strict=True):
            started = time.perf_counter()
            action()
            if index:
                side.append(1000 * (time.perf_counter() - started))
    return times


def _memory_row(codec: Codec, server: TritonServer, speech: NDArray[np.float32]) -> Row:
    audio = np.resize(speech, _MEMORY_S * codec.info.sample_rate_hz)
    with PeakMemory(server.pid) as memory:
        codec.decode(codec.encode(audio, codec.info.sample_rate_hz))
    value = memory.peak_mb
    how = f"server and its children, encoding and decoding {_MEMORY_S} s"
    asked = codec.name == "nanocodec"
    target = f"< {_MEMORY_MB}" if asked else "none"
    return Row(codec.name, "peak_memory", value, "MB", target, value < _MEMORY_MB or not asked, how)


if __name__ == "__main__":
    sys.exit(main())
