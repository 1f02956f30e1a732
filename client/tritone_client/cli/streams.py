"""``tritone stream``: live streams, and how long they take."""

import argparse
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from tritone_client.cli.file_kinds import kind_of
from tritone_client.cli.pacing import Report, paced
from tritone_client.cli.pcm import audio_of, raw_of
from tritone_client.codec import Codec
from tritone_client.errors import AudioError, TokensError, TritoneError
from tritone_client.inputs.audio import checked_format, write_audio
from tritone_client.streams.chunk_plan import ChunkPlan, PlannedFrames

__all__ = ["add_arguments", "decode", "encode_and_decode"]

Player: TypeAlias = Callable[[NDArray[np.float32]], None]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument(
        "source",
        help="a file of tokens; or - for raw audio on standard input: 16 bit, channels interleaved, at the "
        "rate that the encoder takes unless --input-rate names another",
    )
    parser.add_argument("target", help="an audio file; or - for raw audio on standard output")
    parser.add_argument("--overwrite", action="store_true", help="replace an existing target")
    parser.add_argument("--rate", type=int, help="sample rate of the target in Hz (default: the codec's)")
    parser.add_argument("--input-rate", type=int, help="sample rate of raw audio on standard input in Hz")
    parser.add_argument("--frames", type=int, default=1, help="frames in one request (%(default)s)")
    parser.add_argument("--first", type=int, help="frames in the first request of decoding")
    parser.add_argument(
        "--then", type=int, help="frames in later requests, which grow to it by doubling from --first"
    )
    parser.add_argument("--realtime", action="store_true", help="send tokens at the pace of the audio")


def decode(codec: Codec, tokens: NDArray[Any], options: argparse.Namespace) -> None:
    """Decode tokens [K, T], ``--frames`` frames per request, or as ``--first`` and ``--then`` say."""
    if tokens.ndim != 2:  # noqa: PLR2004
        raise TokensError(f"{codec.name} takes tokens [K, T], got {list(tokens.shape)}")
    period_s = _frames(options) / codec.info.frame_rate_hz
    pieces = [
        tokens[:, start : start + options.frames] for start in range(0, tokens.shape[1], options.frames)
    ]
    plan = ChunkPlan(options.first, options.then)
    rate_hz = _rate(codec, options)
    with (
        _playing(options.target, rate_hz) as play,
        codec.decode_stream(sample_rate_hz=options.rate) as stream,
    ):
        report = Report(period_s, plan.as_it_comes)
        items = paced(pieces, period_s) if options.realtime else pieces
        for piece in PlannedFrames(plan, codec.info).chunks(items):
            _play(report, play, rate_hz, report.timed(lambda piece=piece: stream.push(piece)))  # type: ignore[misc]
        _play(report, play, rate_hz, stream.close())
    report.show(options.realtime)


def encode_and_decode(codec: Codec, options: argparse.Namespace) -> None:
    """Encode raw audio from standard input, and decode the tokens at once."""
    plan = ChunkPlan(options.first, options.then)
    rate_hz = _rate(codec, options)
    input_hz = codec.info.encode_sample_rate_hz if options.input_rate is None else options.input_rate
    period_s = _frames(options) / codec.info.frame_rate_hz
    with (
        _playing(options.target, rate_hz) as play,
        codec.encode_stream(input_hz) as encoder,
        codec.decode_stream(sample_rate_hz=options.rate) as decoder,
    ):
        report, frames = Report(period_s, plan.as_it_comes), PlannedFrames(plan, codec.info)

        def decoded(chunks: list[Any]) -> NDArray[np.float32]:
            nothing = np.zeros(codec.info.audio_shape(0), np.float32)
            return np.concatenate([nothing, *map(decoder.push, chunks)], axis=-1)

        def put_together(tokens: NDArray[np.int64]) -> list[Any]:
            return frames.push(tokens) if tokens.shape[1] else []

        for chunk in _chunks(round(period_s * input_hz), codec.info.num_channels):
            made = report.timed(lambda chunk=chunk: decoded(put_together(encoder.push(chunk))))  # type: ignore[misc]
            _play(report, play, rate_hz, made)
        _play(report, play, rate_hz, decoded(put_together(encoder.close()) + frames.flush()))
        _play(report, play, rate_hz, decoder.close())
    report.show(real_time=False)


def _frames(options: argparse.Namespace) -> int:
    if options.frames < 1:
        raise TritoneError(f"--frames is at least 1, got {options.frames}")
    return int(options.frames)


def _rate(codec: Codec, options: argparse.Namespace) -> int:
    return int(codec.info.sample_rate_hz if options.rate is None else options.rate)


def _play(report: Report, play: Player, rate_hz: int, audio: NDArray[np.float32]) -> None:
    play(audio)
    report.received(audio.shape[-1] / rate_hz)


def _chunks(samples: int, channels: int) -> Iterator[NDArray[np.float32]]:
    """Raw audio from standard input, ``samples`` at a time; a part of a sample at the end is left out.

    Raises:
        AudioError: standard input is a file with a header, which would become noise.
    """
    first, size = True, 2 * channels
    while chunk := sys.stdin.buffer.read(size * samples):
        if first and (kind := _file_kind(chunk)):
            raise AudioError(f"raw audio is expected on standard input, got {kind}; name the file instead")
        first = False
        yield audio_of(chunk[: len(chunk) // size * size], channels)


def _file_kind(beginning: bytes) -> str | None:
    """The kind of a file by its first bytes; kinds known by one or two bytes may be raw audio by chance."""
    kind = kind_of(beginning)
    return kind if kind is not None and kind_of(beginning[:2]) is None else None


@contextmanager
def _playing(target: str, rate_hz: int) -> Iterator[Player]:
    if target == "-":
        with _ignore_closed_output():
            yield _to_standard_output
        return
    checked_format(Path(target))
    pieces: list[NDArray[Any]] = []
    try:
        yield pieces.append
    except KeyboardInterrupt:  # the usual end of a recording
        if pieces:
            write_audio(Path(target), np.concatenate(pieces, axis=-1), rate_hz)
        raise
    write_audio(Path(target), np.concatenate(pieces, axis=-1), rate_hz)


def _to_standard_output(audio: NDArray[np.float32]) -> None:
    sys.stdout.buffer.write(raw_of(audio))
    sys.stdout.buffer.flush()


@contextmanager
def _ignore_closed_output() -> Iterator[None]:
    """Stop if the program that reads standard output ended, without Python's message about it."""
    try:
        yield
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
