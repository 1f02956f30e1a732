"""``tritone encode`` and ``tritone decode``: files to files, none of them lost."""

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
"""What is read, and what is written from it."""
_PIPE = Path("-")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Of both commands."""
    parser.add_argument("source", nargs="+", type=Path, help="one or more files; - for standard input")
    parser.add_argument("target", type=Path, help="a file, a folder for several sources, or -")
    parser.add_argument("--overwrite", action="store_true", help="replace files that exist")


def planned(options: argparse.Namespace, ending: str) -> Plan:
    """All that is to be done; refused as a whole, before anything is written, if a file would be lost.

    Raises:
        TritoneError: two sources would become one file, or a target exists, or is a source.
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
    """The same for names that some file systems take for one."""
    return unicodedata.normalize("NFC", str(path)).casefold()


def _refuse_sources(plan: Plan) -> None:
    sources = {source.resolve() for source, _ in plan if source != _PIPE}
    for _, made in plan:
        if made != _PIPE and made.resolve() in sources:
            raise TritoneError(f"{made} is a source, and would be overwritten; choose another target")


def refuse_existing(targets: Sequence[Path]) -> None:
    """TritoneError names a file that is there already; devices and pipes may be written to."""
    there = [each for each in targets if each != _PIPE and each.is_file()]
    if there:
        more = f" and {len(there) - 1} more" if len(there) > 1 else ""
        verb = "exist" if more else "exists"
        raise TritoneError(f"{there[0]}{more} {verb}; choose another target, or add --overwrite")


def encode_files(codec: Codec, plan: Plan) -> None:
    """Audio files to token files."""

    def convert(source: Path, target: Path) -> None:
        audio, rate_hz = audio_of_file(_piped(), "standard input") if source == _PIPE else read_audio(source)
        made = io.BytesIO()
        np.save(made, codec.encode(audio, rate_hz))
        _write(target, made.getvalue())

    _each(plan, convert)


def decode_files(codec: Codec, plan: Plan, ending: str) -> None:
    """Token files to audio files, of the format of their ending, or ``ending`` on standard output."""

    def convert(source: Path, target: Path) -> None:
        audio = codec.decode(read_tokens(source))
        if target == _PIPE:
            _write(target, audio_file(audio, codec.info.sample_rate_hz, ending))
        else:
            write_audio(target, audio, codec.info.sample_rate_hz)

    for _, target in plan:
        if target != _PIPE:
            checked_format(target)
    _each(plan, convert)


def read_tokens(path: Path) -> NDArray[np.generic]:
    """Tokens of a file, or of standard input for ``-``; TokensError says what else it holds."""
    if path == _PIPE:
        return tokens_of_file(_piped(), "standard input")
    return tokens_of_file(path.read_bytes(), str(path))


def _piped() -> bytes:
    return sys.stdin.buffer.read()


def _write(target: Path, data: bytes) -> None:
    if target == _PIPE:
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
    else:
        target.write_bytes(data)


def _each(plan: Plan, convert: Callable[[Path, Path], None]) -> None:
    """Every file; a bad one is told, and the rest are converted.

    Raises:
        TritoneError: the server failed, or how many files were bad.
    """
    bad = 0
    for source, target in _with_progress(plan):
        try:
            if len(plan) > 1:
                target.parent.mkdir(parents=True, exist_ok=True)
            convert(source, target)
        except (ServerUnavailableError, AccessDeniedError):
            raise  # the next file would fare no better
        except (TokensError, AudioError, ServerRefusedError, OSError) as error:
            if len(plan) == 1:
                raise
            bad += 1
            _tell(source, error)
    if bad:
        raise TritoneError(f"{bad} of {len(plan)} files could not be converted")


def _tell(source: Path, error: Exception) -> None:
    said = str(error)
    print(f"tritone: {said if str(source) in said else f'{source}: {said}'}", file=sys.stderr)


def _with_progress(plan: Plan) -> Iterable[tuple[Path, Path]]:
    if len(plan) == 1 or not sys.stderr.isatty():
        return plan
    try:
        from rich.console import Console
        from rich.progress import track
    except ImportError as error:
        raise MissingExtraError("progress on many files") from error
    return track(plan, "converting", console=Console(stderr=True))
