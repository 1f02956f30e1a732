"""Serve a codec and use it: speech -> tokens -> speech, through a real Triton server.

The decoded speech and a figure are written to artifacts/demo. The codec's authors' implementation, with the
same weights, is run for comparison.

Examples:
  make demo
  make demo CODEC=mimi                      # random weights, since no others are here: noise comes back
  make demo CODEC=nanocodec CHECKPOINT=nemo-nano-codec.nemo AUDIO=me.flac
  .venv/bin/python -m scripts.demo --codec mimi --audio me.flac
"""

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from scripts.common.cli import argument_parser
from scripts.common.prepare import REPOSITORY, PrepareError, build_models, seeded_checkpoint
from scripts.common.quality import pesq_wb, stoi
from scripts.peers import reference_of
from tritone_build.codecs import codec_within, load_codec, open_published, variant
from tritone_build.errors import TritoneBuildError
from tritone_client import Codec, CodecInfo, TritoneError
from tritone_client.inputs.audio import read_audio, resampled, write_audio
from tritone_client.inputs.checks import checked_audio
from tritone_client.page.figures import figure_of
from tritone_runtime.fidelity import differing_share, snr_db
from tritone_server.binaries import find_server
from tritone_server.launcher import ServerError, serving
from tritone_server.wheels import WheelError

_OUTPUT = Path("artifacts/demo")

Audio: TypeAlias = NDArray[np.float32]


def main() -> int:
    """Entry point; returns 1 with the reason when something is missing or wrong."""
    options, console = _options(), Console()
    try:
        _demo(options, console)
    except (TritoneError, TritoneBuildError, ServerError, WheelError, PrepareError) as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1
    return 0


def _options() -> argparse.Namespace:
    parser = argument_parser("scripts.demo", __doc__)
    parser.add_argument("--codec", default="nanocodec_mini", help="codec to serve (default: %(default)s)")
    weights = parser.add_mutually_exclusive_group()
    weights.add_argument(
        "--checkpoint",
        help="file, folder or hub id (default: the codec's weights in this repository, else --noise)",
    )
    weights.add_argument(
        "--noise", action="store_true", help="use seeded random weights; the decoded audio is noise"
    )
    parser.add_argument(
        "--repository",
        type=Path,
        default=REPOSITORY,
        help="where the models are built (default: %(default)s)",
    )
    parser.add_argument("--in-process", action="store_true", help="start no server")
    parser.add_argument("--audio", type=Path, default=Path("samples/speech.wav"), help="default: %(default)s")
    return parser.parse_args()


@dataclass(frozen=True)
class _RoundTrip:
    """Audio encoded and decoded through a server, and the times that took."""

    info: CodecInfo
    audio: Audio
    tokens: NDArray[np.int64]
    decoded: Audio
    encode_s: float
    decode_s: float
    latency_ms: float
    streaming: str | None


def _demo(options: argparse.Namespace, console: Console) -> None:
    read_audio(options.audio)  # a file that is no audio is refused before models are built
    hindrance = "--in-process" if options.in_process else _why_no_server()
    console.print(f"[bold]1/4[/] checkpoint and models of {options.codec}")
    source, noise = _checkpoint(options)
    if noise:
        console.print("    no checkpoint given: the weights are random, so the decoded sound is noise")
    build_models([(options.codec, source)], options.repository)
    with _opened(options, hindrance, console) as codec:
        console.print(f"[bold]3/4[/] encoding and decoding {options.audio}")
        audio, rate_hz = read_audio(options.audio, codec.info.num_channels)
        round_trip = _round_trip(codec, audio, rate_hz)
    _OUTPUT.mkdir(parents=True, exist_ok=True)
    wav, png = _OUTPUT / f"{options.codec}.wav", _OUTPUT / f"{options.codec}.png"
    write_audio(wav, round_trip.decoded, round_trip.info.sample_rate_hz)
    figure_of(round_trip.info, round_trip.audio, round_trip.tokens, round_trip.decoded).savefig(png, dpi=110)
    console.print("[bold]4/4[/] the authors' implementation, with the same weights")
    differing, snr = _against_reference(source, options.codec, round_trip)
    table = _table(round_trip, "through Triton" if hindrance is None else "in this process")
    if not noise:
        _add_quality(table, round_trip)
    table.add_row("tokens against the reference", f"{100 * differing:.3f} % differ")
    table.add_row("audio against the reference", f"{snr:.1f} dB, {round_trip.decoded.shape[-1]} samples")
    console.print(table)
    console.print(f"sound: {wav}\nfigure: {png}")


def _why_no_server() -> str | None:
    """Why no Triton server runs on this machine; None where one does."""
    try:
        find_server()
    except (ServerError, WheelError) as error:
        return str(error)
    return None


@contextmanager
def _opened(options: argparse.Namespace, hindrance: str | None, console: Console) -> Iterator[Codec]:
    """The codec on a server; in this process, where no server runs."""
    if hindrance is not None:
        console.print(f"[bold]2/4[/] no server ({hindrance}): the codec runs in this process", soft_wrap=True)
        with Codec(options.codec, options.repository) as codec:
            yield codec
        return
    console.print("[bold]2/4[/] starting Triton on loopback")
    with serving(options.repository, [options.codec]) as server, Codec(options.codec, server.url) as codec:
        yield codec


def _checkpoint(options: argparse.Namespace) -> tuple[str, bool]:
    """The checkpoint to serve, and whether its weights are random."""
    if options.checkpoint and not options.noise:
        return options.checkpoint, False
    if variant(options.codec).comes_along and not options.noise:
        return variant(options.codec).source, False
    return seeded_checkpoint(options.codec), True


def _round_trip(codec: Codec, audio: Audio, rate_hz: int) -> _RoundTrip:
    info = codec.info
    codec.decode(codec.encode(audio, rate_hz))
    tokens, encode_s = _timed(lambda: codec.encode(audio, rate_hz))
    decoded, decode_s = _timed(lambda: codec.decode(tokens))
    shortest = tokens[:, : info.min_frames]
    latencies = [_timed(lambda: codec.decode(shortest))[1] for _ in range(20)]
    latency_ms, streaming = 1000 * float(np.median(latencies)), _stream(codec, tokens)
    at_codec_rate = checked_audio(audio, rate_hz, info, resampled)
    return _RoundTrip(info, at_codec_rate, tokens, decoded, encode_s, decode_s, latency_ms, streaming)


def _table(round_trip: _RoundTrip, how: str) -> Table:
    info, (books, frames) = round_trip.info, round_trip.tokens.shape
    samples = round_trip.decoded.shape[-1]
    seconds = samples / info.sample_rate_hz
    table = Table("", "", title=f"{info.name} {how}", show_header=False)
    table.add_row("frames", f"{frames} of {1000 / info.frame_rate_hz:.1f} ms, {books} codebooks")
    table.add_row("bitrate", f"{info.bitrate_bps / 1000:.2f} kbit/s")
    for activity, took_s in (("encode", round_trip.encode_s), ("decode", round_trip.decode_s)):
        table.add_row(activity, f"{1000 * took_s:.0f} ms, real-time factor {took_s / seconds:.3f}")
    table.add_row("latency", f"{round_trip.latency_ms:.1f} ms for {info.min_frames} frame(s)")
    if round_trip.streaming is not None:
        table.add_row("live stream", round_trip.streaming)
    return table


def _add_quality(table: Table, round_trip: _RoundTrip) -> None:
    rate_hz = round_trip.info.encode_sample_rate_hz
    decoded = resampled(round_trip.decoded, round_trip.info.sample_rate_hz, rate_hz)
    pair = round_trip.audio, decoded[: len(round_trip.audio)]
    score = pesq_wb(*pair, rate_hz)
    table.add_row("STOI", f"{stoi(*pair, rate_hz):.3f} of 1 (intelligibility)")
    table.add_row(
        "PESQ", "not installed; it needs a C compiler" if score is None else f"{score:.2f}, 1.04 to 4.64"
    )


def _timed(action: Callable[[], NDArray[Any]]) -> tuple[NDArray[Any], float]:
    started = time.perf_counter()
    return action(), time.perf_counter() - started


def _stream(codec: Codec, tokens: NDArray[np.int64]) -> str | None:
    """Times of the same tokens as a live stream, frame by frame; None if the codec has no streaming model."""
    if codec.stream_info is None:
        return None
    with codec.decode_stream() as stream:
        pushes = [_timed(partial(stream.push, frame)) for frame in tokens.T]
    times = [1000 * seconds for _, seconds in pushes]
    db = snr_db(codec.decode(tokens), np.concatenate([audio for audio, _ in pushes], axis=-1))
    return f"first sound in {times[0]:.0f} ms, {np.median(times):.1f} ms a frame; {db:.0f} dB from the whole"


def _against_reference(source: str, codec: str, round_trip: _RoundTrip) -> tuple[float, float]:
    """Share of tokens that differ, and SNR in dB of the audio decoded from the same tokens."""
    checkpoint = codec_within(open_published(source))
    load_codec(checkpoint, codec)
    reference = reference_of(checkpoint)
    theirs = reference.encode(torch.tensor(round_trip.audio)[None])[0].numpy()
    sound = reference.decode(torch.tensor(round_trip.tokens)[None])[0].numpy()
    return differing_share(theirs, round_trip.tokens), snr_db(sound, round_trip.decoded)


if __name__ == "__main__":
    sys.exit(main())
