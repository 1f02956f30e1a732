"""Serve a codec and use it: speech -> tokens -> speech, through a real Triton server.

Examples:
  make demo
  make demo CODEC=nanocodec CHECKPOINT=nemo-nano-codec.nemo AUDIO=me.flac
"""

import argparse
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from peers import reference_of
from picture import draw
from prepare import REPOSITORY, PrepareError, build_models, seeded_checkpoint
from tritone_build.codecs import load_codec, open_published, variant
from tritone_build.errors import TritoneBuildError
from tritone_build.fidelity import differing_share, snr_db
from tritone_client import Codec, TritoneError
from tritone_client.audio import read_audio, resampled, write_audio
from tritonserver import ServerError, find_server, serving
from wheels import WheelError

_OUTPUT = Path("artifacts/demo")


def main() -> int:
    """Entry point; 1 with the reason when something is missing or wrong."""
    options, console = _options(), Console()
    try:
        _demo(options, console)
    except (TritoneError, TritoneBuildError, ServerError, WheelError, PrepareError) as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--codec", default="nanocodec", help="%(default)s")
    parser.add_argument("--checkpoint", help="file, folder or hub id (default: seeded random weights)")
    parser.add_argument("--audio", type=Path, default=Path("samples/speech.wav"), help="%(default)s")
    return parser.parse_args()


def _demo(options: argparse.Namespace, console: Console) -> None:
    audio, rate_hz = read_audio(options.audio)
    find_server()
    console.print(f"[bold]1/4[/] checkpoint and models of {options.codec}")
    if options.checkpoint is None:
        variant(options.codec)
        console.print("    no checkpoint given: the weights are random, so the decoded sound is noise")
    source = options.checkpoint or seeded_checkpoint(options.codec)
    build_models([(options.codec, source)])
    console.print("[bold]2/4[/] starting Triton on loopback")
    with serving(REPOSITORY, [options.codec]) as server, Codec(options.codec, server.url) as codec:
        info = codec.info
        console.print(f"[bold]3/4[/] encoding and decoding {options.audio}")
        codec.decode(codec.encode(audio, rate_hz))
        tokens, encode_s = _timed(lambda: codec.encode(audio, rate_hz))
        decoded, decode_s = _timed(lambda: codec.decode(tokens))
        shortest = tokens[:, : info.min_frames]
        latencies = [_timed(lambda: codec.decode(shortest))[1] for _ in range(20)]
        live = _live(codec, tokens)
    _OUTPUT.mkdir(parents=True, exist_ok=True)
    wav, png = _OUTPUT / f"{options.codec}.wav", _OUTPUT / f"{options.codec}.png"
    write_audio(wav, decoded, info.sample_rate_hz)
    at_codec_rate = resampled(audio, rate_hz, info.sample_rate_hz)
    draw(png, info, at_codec_rate, tokens, decoded)
    console.print("[bold]4/4[/] the authors' implementation, with the same weights")
    differing, snr = _against_reference(source, options.codec, at_codec_rate, tokens, decoded)

    seconds = len(decoded) / info.sample_rate_hz
    table = Table("", "", title=f"{options.codec} through Triton", show_header=False)
    table.add_row(
        "frames", f"{tokens.shape[1]} of {1000 / info.frame_rate_hz:.1f} ms, {tokens.shape[0]} codebooks"
    )
    table.add_row("bitrate", f"{info.bitrate_bps / 1000:.2f} kbit/s")
    table.add_row("encode", f"{1000 * encode_s:.0f} ms, real-time factor {encode_s / seconds:.3f}")
    table.add_row("decode", f"{1000 * decode_s:.0f} ms, real-time factor {decode_s / seconds:.3f}")
    table.add_row("latency", f"{1000 * np.median(latencies):.1f} ms for {info.min_frames} frame(s)")
    if live is not None:
        table.add_row("live stream", live)
    table.add_row("tokens against the reference", f"{100 * differing:.3f} % differ")
    table.add_row("audio against the reference", f"{snr:.1f} dB, {len(decoded)} samples")
    console.print(table)
    console.print(f"sound: {wav}\npicture: {png}")


def _timed(action: Callable[[], NDArray[Any]]) -> tuple[NDArray[Any], float]:
    started = time.perf_counter()
    return action(), time.perf_counter() - started


def _live(codec: Codec, tokens: NDArray[np.int64]) -> str | None:
    """The same tokens as a live stream, frame by frame, where the server has one."""
    if codec.stream_info is None:
        return None
    with codec.decode_stream() as stream:
        pushes = [_timed(partial(stream.push, frame)) for frame in tokens.T]
    times = [1000 * seconds for _, seconds in pushes]
    alike = snr_db(codec.decode(tokens), np.concatenate([audio for audio, _ in pushes]))
    return f"first sound in {times[0]:.0f} ms, {np.median(times):.1f} ms a frame; {alike:.0f} dB of the whole"


def _against_reference(
    source: str,
    codec: str,
    audio: NDArray[np.float32],
    tokens: NDArray[np.int64],
    decoded: NDArray[np.float32],
) -> tuple[float, float]:
    """Share of tokens that differ, and dB of the sound decoded from the same tokens."""
    checkpoint = open_published(source)
    load_codec(checkpoint, codec)
    reference = reference_of(checkpoint)
    theirs = reference.encode(torch.tensor(audio)[None])[0].numpy()
    sound = reference.decode(torch.tensor(tokens)[None])[0].numpy()
    return differing_share(theirs, tokens), snr_db(sound, decoded)


if __name__ == "__main__":
    sys.exit(main())
