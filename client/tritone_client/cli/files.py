"""``tritone encode`` and ``tritone decode`` convert files, and overwrite none by mistake."""

import argparse
import io
import sys
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from tritone_client.cli.token_files import tokens_of_file
from tritone_client.codec import Codec
from tritone_client.errors import (
    AccessDeniedError,
    AudioError,
    MissingExtraError,
    ServerRefusedError,
    ServerUnavailableError,
    TokensError,
    TritoneError,
)
from tritone_client.inputs.audio import audio_file, audio_of_file, checked_format, read_audio, write_audio

__all__ = [
    "Plan",
    "add_arguments",
    "decode_files",
    "encode_files",
    "planned",
    "read_tokens",
    "refuse_existing",
]

Plan: TypeAlias = list[tuple[Path, Path]]
"""Pairs of a file to read and the file to write from it."""
_PIPE = Path("-")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of both commands."""
    parser.add_argument("source", nargs="+", type=Path, help="one or more files; - for standard input")
    parser.add_argument(
        "target", type=Path, help="a file; a folder for several sources; - for standard output"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace existing files")


def planned(options: argparse.Namespace, ending: str) -> Plan:
    """Which file becomes which. Nothing is written yet if any file would be lost.

    Raises:
        TritoneError: two sources would become the same file; or a target exists, or is also a source.
    """
    sources, target = options.source, options.target
    into_folder = len(sources) > 1 or target.is_dir()
    no_folder = target == _PIPE or bool(target.suffix) or target.exists()
    if into_folder and no_folder and not target.is_dir():
        raise TritoneError(f"{len(sources)} sources need a folder as target, got {target}")
    if into_folder and _PIPE in sources:
        raise TritoneError("standard input needs a file as target, and no other sources beside it")
    plan = [(each, target / f"{each.stem}.{ending}" if into_folder else target) for each in sources]
    _refuse_collisions(plan)
    _refuse_sources(plan)
    if not options.overwrite:
        refuse_existing([made for _, made in plan])
    return plan


def _refuse_collisions(plan: Plan) -> None:
    first: dict[str, Path] = {}
    for source, made in plan:
        other = first.setdefault(_folded(made), source)
        if other is not source:
            raise TritoneError(
                f"{other} and {source} would both become {made}; "
                "give them different names, or targets in different folders"
            )


def _folded(path: Path) -> str:
    """A key that is equal for paths that some file systems do not distinguish."""
    return unicodedata.normalize("NFC", str(path)).casefold()


def _refuse_sources(plan: Plan) -> None:
    sources = {source.resolve() for source, _ in plan if source != _PIPE}
    for _, made in plan:
        if made != _PIPE and made.resolve() in sources:
            raise TritoneError(f"{made} is a source, and would be overwritten; choose another target")


def refuse_existing(targets: Sequence[Path]) -> None:
    """TritoneError if a target exists and is a regular file; devices and pipes may be written to."""
    there = [each for each in targets if each != _PIPE and each.is_file()]
    if there:
        more = f" and {len(there) - 1} more" if len(there) > 1 else ""
        verb = "exist" if more else "exists"
        raise TritoneError(f"{there[0]}{more} {verb}; choose another target, or add --overwrite")


def encode_files(codec: Codec, plan: Plan) -> None:
    """Encode audio files to token files."""

    def convert(source: Path, target: Path) -> None:
        audio, rate_hz = _read_audio(source, codec.info.num_channels)
        made = io.BytesIO()
        np.save(made, codec.encode(audio, rate_hz))
        _write(target, made.getvalue())

    _convert_all(plan, convert)


def _read_audio(source: Path, channels: int) -> tuple[NDArray[np.float32], int]:
    if source == _PIPE:
        return audio_of_file(_standard_input(), "standard input", channels)
    return read_audio(source, channels)


def decode_files(codec: Codec, plan: Plan, ending: str, rate_hz: int | None = None) -> None:
    """Decode token files to audio files in the format of their endings; ``ending`` for standard output.

    ``rate_hz`` is the sample rate of the audio; the codec's if None.
    """
    written_hz = codec.info.sample_rate_hz if rate_hz is None else rate_hz

    def convert(source: Path, target: Path) -> None:
        audio = codec.decode(read_tokens(source), rate_hz)
        if target == _PIPE:
            _write(target, audio_file(audio, written_hz, ending))
        else:
            write_audio(target, audio, written_hz)

    for _, target in plan:
        if target != _PIPE:
            checked_format(target)
    _convert_all(plan, convert)


def read_tokens(path: Path) -> NDArray[np.generic]:
    """Tokens of a file, or of standard input for ``-``; TokensError says what the file is instead."""
    if path == _PIPE:
        return tokens_of_file(_standard_input(), "standard input")
    return tokens_of_file(path.read_bytes(), str(path))


def _standard_input() -> bytes:
    return sys.stdin.buffer.read()


def _write(target: Path, data: bytes) -> None:
    if target == _PIPE:
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
    else:
        target.write_bytes(data)


def _convert_all(plan: Plan, convert: Callable[[Path, Path], None]) -> None:
    """Convert every file. If one is bad, report it and convert the others.

    Raises:
        TritoneError: the server failed; or some files were bad, and the message says how many.
    """
    bad = 0
    for source, target in _with_progress(plan):
        try:
            if len(plan) > 1:
                target.parent.mkdir(parents=True, exist_ok=True)
            convert(source, target)
        except (ServerUnavailableError, AccessDeniedError):
            raise  # the next file would fail as well
        except (TokensError, AudioError, ServerRefusedError, OSError) as error:
            if len(plan) == 1:
                raise
            bad += 1
            _report(source, error)
    if bad:
        raise TritoneError(f"{bad} of {len(plan)} files could not be converted")


def _report(source: Path, error: Exception) -> None:
    text = str(error)
    print(f"tritone: {text if str(source) in text else f'{source}: {text}'}", file=sys.stderr)


def _with_progress(plan: Plan) -> Iterable[tuple[Path, Path]]:
    if len(plan) == 1 or not sys.stderr.isatty():
        return plan
    try:
        from rich.console import Console
        from rich.progress import track
    except ImportError as error:
        raise MissingExtraError("progress on many files") from error
    return track(plan, "converting", console=Console(stderr=True))
