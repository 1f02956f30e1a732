"""Arguments that commands share: which checkpoint, under which name."""

import argparse

from tritone_build.codecs import load_codec, open_published, variant
from tritone_build.codecs.base import Codec
from tritone_build.errors import CheckpointError

__all__ = ["add_checkpoint", "chosen_codec"]


def add_checkpoint(command: argparse.ArgumentParser) -> None:
    """Arguments of :func:`chosen_codec`, and whether to build what is up to date."""
    command.add_argument("codec", nargs="?", help="what the models are called (default: by geometry)")
    command.add_argument(
        "--checkpoint",
        help="file, folder or hub id, with #prefix for one of several codecs in it (default: the codec's "
        "published one)",
    )
    command.add_argument("--revision", help="commit or branch on the hub (default: the pinned one)")
    command.add_argument("--force", action="store_true", help="build also what is up to date")


def chosen_codec(options: argparse.Namespace) -> Codec:
    """The codec with its weights.

    Raises:
        CheckpointError: no codec and no checkpoint is named, or it is not what it should be.
        UnknownCodecError: no published codec has that name.
    """
    source = options.checkpoint or options.codec
    if source is None:
        raise CheckpointError("name a codec, or give a checkpoint with --checkpoint")
    if options.checkpoint is None:
        variant(options.codec)
    return load_codec(open_published(source, options.revision), options.codec)
