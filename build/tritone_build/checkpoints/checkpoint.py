"""Reading codec checkpoints as they are published: NeMo archives, safetensors, and files of ``torch.save``.

Safetensors may be in shards. A file without a configuration must fit a published codec tensor by tensor. A
checkpoint is named by its path or by its id on the Hugging Face hub. Nothing is ever unpickled but tensors
and plain values.
"""

import lzma
import shlex
import tarfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from tritone_build.checkpoints.file_kinds import FileKind, checkpoint_kind
from tritone_build.checkpoints.hub import fetched
from tritone_build.checkpoints.nemo_archive import read_nemo
from tritone_build.checkpoints.pickled import read_pickled
from tritone_build.checkpoints.shards import (
    INDEX_SUFFIX,
    codec_folder,
    config_in,
    named_weights,
    read_shards,
    shards_of,
)
from tritone_build.errors import CheckpointError, CheckpointNotFoundError
from tritone_runtime.manifests import sha256_of

__all__ = ["Checkpoint", "checkpoint_part", "open_checkpoint", "with_settings"]

_UNPACKED = ("model_config.yaml", "model_weights.ckpt")
_WEIGHTS = (("*.nemo",), ("*.safetensors",), ("*.bin", "*.pth", "*.pt", "*.ckpt"))
"""Names of files with weights; of several kinds in a folder, the first one here is read."""


@dataclass(frozen=True)
class Checkpoint:
    """An open checkpoint: its own configuration, and its tensors by their published names.

    If the codec is part of another model, ``prefix`` is the prefix of its tensors' names in the file, and
    ``source`` and ``sha256`` (the hash of the file) end in ``#prefix``. Both name the settings of
    :func:`with_settings`, too.
    """

    source: str
    layout: str
    config: Mapping[str, Any]
    tensors: Mapping[str, Tensor]
    sha256: str
    prefix: str = ""


def open_checkpoint(source: str, revision: str | None = None) -> Checkpoint:
    """Read a checkpoint from a file, a folder with one, or a hub id ``owner/name``.

    Files are .nemo, safetensors, or .bin and .pth of ``torch.save``; the content counts, not the name.

    Of a folder or repository with a folder ``speech_tokenizer``, as Qwen3-TTS has, only that folder is read.

    Args:
        source: path or hub id; a path that exists has precedence. An appended ``#prefix`` chooses the codec
            within a model: the tensors whose names begin with that prefix.
        revision: commit, tag or branch on the hub.

    Raises:
        CheckpointNotFoundError: the source is neither a path nor a repository on the hub.
        CheckpointError: the file is truncated, is not a checkpoint, or holds pickled code; or no tensor's
            name begins with the prefix.
    """
    if "#" in source and not Path(source).exists():
        whole, _, prefix = source.rpartition("#")
        checkpoint = open_checkpoint(whole, revision)
        return checkpoint_part(checkpoint, prefix.rstrip(".")) if prefix else checkpoint
    path = Path(source) if source and Path(source).exists() else fetched(source, revision)
    if path.is_dir():
        path = _weights_in(codec_folder(path), source)
    try:
        layout, config, tensors = _read(path)
    except (tarfile.TarError, EOFError, zlib.error, lzma.LZMAError, SafetensorError, OSError) as error:
        raise CheckpointError(
            f"{path}: cannot be read as a {path.suffix or 'nemo'} checkpoint ({error}); "
            "the file is truncated or of another kind: fetch it again"
        ) from error
    files = shards_of(path) if path.name.endswith(INDEX_SUFFIX) else [path]
    return Checkpoint(source, layout, config, tensors, sha256_of(*files))


def checkpoint_part(checkpoint: Checkpoint, prefix: str) -> Checkpoint:
    """Return the tensors whose names begin with ``prefix`` and a dot, without that prefix.

    The configuration of the part is its section in the whole configuration, such as ``codec_config`` for
    ``codec_model``. Without a section it is the whole configuration if the part has all tensors, else empty.

    Raises:
        CheckpointError: no tensor's name begins with the prefix.
    """
    start = f"{prefix}."
    tensors = {
        name.removeprefix(start): tensor
        for name, tensor in checkpoint.tensors.items()
        if name.startswith(start)
    }
    if not tensors:
        first = sorted({name.partition(".")[0] for name in checkpoint.tensors})
        raise CheckpointError(
            f"{checkpoint.source}: no tensor's name begins with {start!r}; they begin with {', '.join(first)}"
        )
    config = _section(checkpoint.config, prefix)
    if config is None:
        config = checkpoint.config if len(tensors) == len(checkpoint.tensors) else {}
    inner = f"{checkpoint.prefix}.{prefix}" if checkpoint.prefix else prefix
    source, sha256 = (
        f"{text.removesuffix(f'#{checkpoint.prefix}')}#{inner}"
        for text in (checkpoint.source, checkpoint.sha256)
    )
    return replace(checkpoint, source=source, config=config, tensors=tensors, sha256=sha256, prefix=inner)


def with_settings(checkpoint: Checkpoint, settings: Mapping[str, Any]) -> Checkpoint:
    """Return the checkpoint with other values for keys of its configuration; the tensors stay the same.

    Raises:
        CheckpointError: its configuration has no such key.
    """
    for key in settings:
        if key not in checkpoint.config:
            keys = ", ".join(sorted(checkpoint.config)) or "nothing"
            raise CheckpointError(
                f"{checkpoint.source}: its configuration has no key {key!r} to set; it has {keys}"
            )
    if not settings:
        return checkpoint
    stated = "&".join(f"{key}={value}" for key, value in sorted(settings.items()))
    source, sha256 = (f"{text}?{stated}" for text in (checkpoint.source, checkpoint.sha256))
    return replace(checkpoint, config={**checkpoint.config, **settings}, source=source, sha256=sha256)


def _section(config: Mapping[str, Any], prefix: str) -> Mapping[str, Any] | None:
    """Return the section of a configuration for the part with that prefix, or None."""
    found = None
    for part in prefix.split("."):
        for name in (part, f"{part}_config", f"{part.removesuffix('_model')}_config"):
            if name in config and isinstance(config[name], Mapping):
                config = found = config[name]
                break
    return found


def _read(path: Path) -> tuple[str, Mapping[str, Any], Mapping[str, Tensor]]:
    if path.name.endswith(INDEX_SUFFIX):
        return "sharded", config_in(path.parent), read_shards(path)
    kind = checkpoint_kind(path)
    if kind is FileKind.SAFETENSORS:
        return "safetensors", config_in(path.parent), load_file(path)
    if kind is FileKind.PICKLED:
        config, tensors = read_pickled(path)
        return "pickled", config or config_in(path.parent), tensors
    return "nemo", *read_nemo(path)


def _weights_in(folder: Path, source: str) -> Path:
    named = named_weights(folder)
    if named is not None:
        return named
    _refuse_unpacked(folder)
    found = next(filter(None, (_files(folder, patterns) for patterns in _WEIGHTS)), [])
    if len(found) == 1:
        return found[0]
    names = ", ".join(path.name for path in found) or "none"
    raise CheckpointNotFoundError(
        f"{source}: expected one .nemo, safetensors, .bin or .pth file, found {names}; name the file itself"
    )


def _files(folder: Path, patterns: Sequence[str]) -> list[Path]:
    return sorted(path for pattern in patterns for path in folder.glob(pattern))


def _refuse_unpacked(folder: Path) -> None:
    """Raise CheckpointError if a folder is a .nemo file that was unpacked."""
    if all((folder / name).exists() for name in _UNPACKED):
        command = shlex.join(["tar", "-cf", "codec.nemo", "-C", str(folder), *_UNPACKED])
        raise CheckpointError(f"{folder} is an unpacked .nemo file; pack it: {command}")
