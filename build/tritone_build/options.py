"""Arguments that several commands share: the checkpoint and the name of the codec."""

import argparse

from tritone_build.codecs import load_codec, open_published, variant
from tritone_build.codecs.base import Codec
from tritone_build.errors import CheckpointError

__all__ = ["add_checkpoint", "chosen_codec"]


def add_checkpoint(command: argparse.ArgumentParser) -> None:
    """Add the arguments that :func:`chosen_codec` reads, and ``--force``."""
    command.add_argument(
        "codec",
        nargs="?",
        help="name of the codec, and of its models (default: the published codec of this geometry)",
    )
    command.add_argument(
        "--checkpoint",
        help="file, folder or hub id; append #prefix to choose one of several codecs in it (default: the "
        "published checkpoint of the codec)",
    )
    command.add_argument("--revision", help="commit or branch on the hub (default: the pinned one)")
    command.add_argument("--force", action="store_true", help="build again even if up to date")


def chosen_codec(options: argparse.Namespace) -> Codec:
    """Load the codec that the arguments name, with its weights.

    Raises:
        CheckpointError: neither codec nor checkpoint is named, or the checkpoint cannot be read or used.
        UnknownCodecError: no published codec has that name.
    """
    source = options.checkpoint or options.codec
    if source is None:
        raise CheckpointError("name a codec, or give a checkpoint with --checkpoint")
    if options.checkpoint is None:
        variant(options.codec)
    return load_codec(open_published(source, options.revision), options.codec)
