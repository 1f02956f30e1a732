"""Arguments that several commands share: the checkpoint, the name of the codec, and the GPU that serves."""

import argparse
import json
from pathlib import Path
from typing import Any

from tritone_build.checkpoints.checkpoint import with_settings
from tritone_build.codecs import codec_within, load_codec, open_published, variant
from tritone_build.codecs.base import Codec
from tritone_build.engines.capacity import USUAL, Capacity
from tritone_build.engines.verification import LEAST_DB
from tritone_build.errors import CheckpointError
from tritone_runtime.gpu import Gpu

__all__ = ["CUDA_REPOSITORY", "add_capacity", "add_checkpoint", "add_least_db", "capacity_of", "chosen_codec"]

CUDA_REPOSITORY = Path("artifacts/cuda_repository")
"""Where models for our runtime on a GPU are built."""


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
    command.add_argument(
        "--set",
        action="append",
        default=[],
        type=_setting,
        metavar="KEY=VALUE",
        help="another value for a key of the checkpoint's configuration, such as noise=position for SNAC; it "
        "is no longer the published codec, so name it yourself",
    )
    command.add_argument("--force", action="store_true", help="build again even if up to date")


def chosen_codec(options: argparse.Namespace) -> Codec:
    """Load the codec that the arguments name, with its weights.

    Raises:
        CheckpointError: neither codec nor checkpoint is named, the checkpoint cannot be read or used, or its
            configuration has no such key as ``--set`` names.
        UnknownCodecError: no published codec has that name.
    """
    source = options.checkpoint or options.codec
    if source is None:
        raise CheckpointError("name a codec, or give a checkpoint with --checkpoint")
    if options.checkpoint is None:
        variant(options.codec)
    checkpoint = codec_within(open_published(source, options.revision))
    return load_codec(with_settings(checkpoint, dict(options.set)), options.codec)


def add_capacity(command: argparse.ArgumentParser) -> None:
    """Add the arguments that :func:`capacity_of` reads."""
    command.add_argument(
        "--max-streams",
        type=_count,
        help="most live streams of each model on a GPU (default: as many as half of its memory holds, up to "
        "1024)",
    )
    command.add_argument(
        "--gpu-memory",
        type=_gigabytes,
        metavar="GB",
        help="memory of the GPU that will serve (default for engines: that of this GPU; otherwise 24)",
    )


def add_least_db(command: argparse.ArgumentParser) -> None:
    """Add the least fidelity of networks in FP16."""
    command.add_argument(
        "--least-db",
        type=float,
        default=LEAST_DB,
        metavar="DB",
        help="refuse a network whose audio in FP16 has less SNR against FP32, on speech (%(default)s)",
    )


def capacity_of(options: argparse.Namespace, gpu: Gpu | None = None) -> Capacity:
    """The GPU and the live streams that the arguments ask for; by default the memory of ``gpu``."""
    memory = options.gpu_memory or (gpu.memory_bytes if gpu else USUAL.memory_bytes)
    return Capacity(memory, options.max_streams)


def _setting(text: str) -> tuple[str, Any]:
    """A key and its value, which is JSON or else a string."""
    key, separator, value = text.partition("=")
    if not key or not separator:
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form KEY=VALUE, such as noise=position")
    try:
        return key, json.loads(value)
    except ValueError:
        return key, value


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of streams, 1 or more")
    return int(text)


def _gigabytes(text: str) -> int:
    """Bytes of a size in GB, each 2**30 bytes, as cards are sold."""
    try:
        size = round(float(text) * 2**30)
    except (ValueError, OverflowError):
        size = 0
    if size <= 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a size in GB, such as 24")
    return size
