"""The argument parser of every command."""

import argparse
from collections.abc import Iterable, Sequence

__all__ = ["add_codec_option", "argument_parser"]


def argument_parser(module: str, description: str | None) -> argparse.ArgumentParser:
    """A parser whose help is the module's docstring, line breaks and examples included.

    Args:
        module: as ``python -m`` takes it, for example ``scripts.bench``.
        description: the module's docstring.
    """
    return argparse.ArgumentParser(
        prog=f"python -m {module}",
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def add_codec_option(parser: argparse.ArgumentParser, codecs: Iterable[str], usual: Sequence[str]) -> None:
    """Add ``--codec``, which takes one or more names and is None by default.

    Args:
        parser: of the command.
        codecs: all names that are allowed.
        usual: the names that the command uses by default, for the help.
    """
    choices = list(codecs)
    meaning = f"one or more of {', '.join(choices)} (default: {' '.join(usual)})"
    parser.add_argument("--codec", choices=choices, nargs="+", metavar="CODEC", help=meaning)
