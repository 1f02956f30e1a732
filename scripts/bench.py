"""Time every codec beside its peers, in one run, on the same input and threads.

Weights are seeded random ones at full geometry, which cost what trained ones cost. Runs of the two
sides alternate; the figures are medians of the pairs.

Examples:
  make bench
  PYTHONPATH=backends/onnxruntime .venv/bin/python scripts/bench.py --codec mimi --steps
"""

import argparse
import os
import statistics
import sys
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console

from bench_machine import machine_rows
from bench_pairs import alternating, median_ratio
from bench_sessions import BareSession, has_streams
from bench_steps import Sound, step_rows
from bench_weights import int8_rows, reading_rows
from memory import PeakMemory
from peers import Reference, references_of
from prepare import MEASURED, REPOSITORY, USUAL, build_models, default_checkpoint
from report import Row, step, write_report
from tritone_build.checkpoints import open_checkpoint
from tritone_client import Codec
from tritone_client.audio import read_audio, resampled
from tritonserver import TritonServer, serving

_FRAMES = (1, 10, 50, 200)
_PAIRS = {1: 40, 10: 9, 50: 3, 200: 2}
_OVERHEAD_MS, _OVERHEAD_SHARE = 1.0, 0.05
_MEMORY_MB, _MEMORY_S = 1000, 60


def main() -> int:
    """Entry point; 1 when a row falls short."""
    options, console = _options(), Console()
    os.environ["RAYON_NUM_THREADS"] = str(options.threads)  # read by rustymimi
    torch.set_num_threads(options.threads)
    build_models([(codec, default_checkpoint(codec)) for codec in options.codec])
    with step(console, "timing the machine"):
        rows = machine_rows(options.threads)
    for name in options.codec:
        with (
            step(console, f"timing {name}"),
            serving(REPOSITORY, [name]) as server,
            Codec(name, server.url) as codec,
        ):
            sound = _sound(codec)
            if not options.steps:
                rows += _served_rows(codec, server, sound, options.threads)
        with step(console, f"timing steps of {name}"):
            rows += step_rows(name, options.threads, sound)
            if has_streams(name, "decode_stream"):
                rows += reading_rows(name, options.threads, sound, rows)
        if options.int8:
            with step(console, f"timing steps of {name} in INT8"):
                rows += int8_rows(name, options.threads, sound)
    write_report("bench", rows, console)
    return 0 if all(row.ok for row in rows) else 1


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--codec", choices=list(MEASURED), nargs="+", default=USUAL, help=f"default: {', '.join(USUAL)}"
    )
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="of either side (%(default)s)")
    parser.add_argument("--steps", action="store_true", help="steps of live streams only")
    parser.add_argument(
        "--int8", action="store_true", help="also with weights in INT8: networks of transformers"
    )
    return parser.parse_args()


def _sound(codec: Codec) -> Sound:
    audio, rate_hz = read_audio(Path("samples/speech.wav"))
    own_hz = codec.info.sample_rate_hz
    audio = resampled(audio, rate_hz, own_hz)
    return Sound(codec.info, audio, codec.encode(audio, own_hz))


def _served_rows(codec: Codec, server: TritonServer, sound: Sound, threads: int) -> list[Row]:
    session, tokens = BareSession(codec.name, threads), np.tile(sound.tokens, (1, 2))
    references = references_of(open_checkpoint(default_checkpoint(codec.name)))
    peer, reference = next(iter(references.items()))
    rows = []
    for frames in [count for count in _FRAMES if count >= codec.info.min_frames]:
        piece = tokens[:, :frames]
        rows.append(_overhead_row(codec, session, piece))
        if frames > 1:
            rows.append(_network_row(codec.name, session, peer, reference, piece))
    rows.append(_memory_row(codec, server, sound.audio))
    return rows


def _overhead_row(codec: Codec, session: BareSession, tokens: NDArray[np.int64]) -> Row:
    frames = tokens.shape[1]
    served, bare = alternating([lambda: codec.decode(tokens), lambda: session.decode(tokens)], _PAIRS[frames])
    value = statistics.median(a - b for a, b in zip(served, bare, strict=True))
    limit = _OVERHEAD_MS + _OVERHEAD_SHARE * statistics.median(bare)
    how = f"{frames} frames, {statistics.median(served):.1f} against {statistics.median(bare):.1f} ms"
    return Row(codec.name, "triton_overhead", value, "ms", f"<= {limit:.2f}", value <= limit, how)


def _network_row(
    name: str, session: BareSession, peer: str, reference: Reference, tokens: NDArray[np.int64]
) -> Row:
    """The decoder network alone, on ONNX Runtime and in the authors' PyTorch."""
    frames = tokens.shape[1]
    latent, length = session.latent(tokens)
    theirs = torch.tensor(latent)

    def ours() -> None:
        session.vocoder.run({"latent": latent, "latent_len": length})

    mine, other = alternating([ours, lambda: reference.network(theirs)], _PAIRS[frames])
    value = median_ratio(mine, other)
    how = f"{peer}, {frames} frames, {statistics.median(mine):.1f} against {statistics.median(other):.1f} ms"
    return Row(name, "ort_vs_torch", value, "ratio", "<= 1.0", value <= 1, how)


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
