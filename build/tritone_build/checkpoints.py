"""Reading codec checkpoints as they are published: NeMo archives and safetensors, whole or in shards.

A safetensors file without a configuration beside it must fit a published codec tensor by tensor. All
come from a path or, by their id, from the Hugging Face hub. Nothing is ever unpickled but
tensors.
"""

import lzma
import shlex
import tarfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from tritone_build.errors import CheckpointError, CheckpointNotFoundError
from tritone_build.file_kinds import FileKind, checkpoint_kind
from tritone_build.hub import fetched
from tritone_build.manifests import sha256_of
from tritone_build.nemo_archive import read_nemo
from tritone_build.shards import INDEX_SUFFIX, config_in, named_weights, read_shards, shards_of

__all__ = ["Checkpoint", "open_checkpoint"]

_UNPACKED = ("model_config.yaml", "model_weights.ckpt")
_PICKLED = ("*.ckpt", "*.pt", "*.pth", "*.bin")


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint read into memory: its own configuration and its tensors by published name."""

    source: str
    layout: str
    config: Mapping[str, Any]
    tensors: Mapping[str, Tensor]
    sha256: str


def open_checkpoint(source: str, revision: str | None = None) -> Checkpoint:
    """Read a checkpoint from a .nemo file, a safetensors file or folder, or a hub id ``owner/name``.

    Args:
        source: path or hub id; a path that exists wins.
        revision: commit, tag or branch on the hub.

    Raises:
        CheckpointNotFoundError: neither a path nor a repository on the hub.
        CheckpointError: the file is truncated, is no checkpoint, or holds pickled code.
    """
    path = Path(source) if source and Path(source).exists() else fetched(source, revision)
    if path.is_dir():
        path = _weights_in(path, source)
    try:
        layout, config, tensors = _read(path)
    except (tarfile.TarError, EOFError, zlib.error, lzma.LZMAError, SafetensorError, OSError) as error:
        raise CheckpointError(
            f"{path}: cannot be read as a {path.suffix or 'nemo'} checkpoint ({error}); "
            "the file is truncated or of another kind: fetch it again"
        ) from error
    files = shards_of(path) if path.name.endswith(INDEX_SUFFIX) else [path]
    return Checkpoint(source, layout, config, tensors, sha256_of(*files))


def _read(path: Path) -> tuple[str, Mapping[str, Any], Mapping[str, Tensor]]:
    if path.name.endswith(INDEX_SUFFIX):
        return "sharded", config_in(path.parent), read_shards(path)
    if checkpoint_kind(path) is FileKind.SAFETENSORS:
        return "safetensors", config_in(path.parent), load_file(path)
    return "nemo", *read_nemo(path)


def _weights_in(folder: Path, source: str) -> Path:
    named = named_weights(folder)
    if named is not None:
        return named
    found = sorted(folder.glob("*.nemo")) or sorted(folder.glob("*.safetensors"))
    if len(found) == 1:
        return found[0]
    if not found:
        _refuse_foreign(folder)
    names = ", ".join(path.name for path in found) or "none"
    raise CheckpointNotFoundError(
        f"{source}: expected one .nemo or one .safetensors file, found {names}; name the file itself"
    )


def _refuse_foreign(folder: Path) -> None:
    """CheckpointError where a folder holds a checkpoint of a kind that is not read."""
    if all((folder / name).exists() for name in _UNPACKED):
        command = shlex.join(["tar", "-cf", "codec.nemo", "-C", str(folder), *_UNPACKED])
        raise CheckpointError(f"{folder} is an unpacked .nemo file; pack it: {command}")
    for path in (path for pattern in _PICKLED for path in sorted(folder.glob(pattern))):
        checkpoint_kind(path)
