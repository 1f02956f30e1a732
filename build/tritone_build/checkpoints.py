"""Reading codec checkpoints as they are published: NeMo archives and safetensors, whole or in shards.

A safetensors file without a configuration beside it must fit a published codec tensor by tensor. All
come from a path or, by their id, from the Hugging Face hub. Nothing is ever unpickled but
tensors.
"""

import io
import json
import pickle
import tarfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor
from yaml import YAMLError

from tritone_build.errors import CheckpointError, CheckpointNotFoundError
from tritone_build.manifests import sha256_of
from tritone_build.shards import INDEX, read_shards, shards_of

__all__ = ["Checkpoint", "open_checkpoint"]

_CONFIG, _WEIGHTS = "model_config.yaml", "model_weights.ckpt"
_HUB_FILES = ["*.nemo", "*.safetensors", INDEX, "config.json"]


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
    path = Path(source)
    if not path.exists():
        path = _from_hub(source, revision)
    if path.is_dir():
        path = _weights_in(path)
    try:
        layout, config, tensors = _read(path)
    except (tarfile.TarError, EOFError, zlib.error, SafetensorError, OSError) as error:
        raise CheckpointError(
            f"{path}: cannot be read as a {path.suffix or 'nemo'} checkpoint ({error}); "
            "the file is truncated or of another kind: fetch it again"
        ) from error
    files = shards_of(path) if path.name == INDEX else [path]
    return Checkpoint(source, layout, config, tensors, sha256_of(*files))


def _read(path: Path) -> tuple[str, Mapping[str, Any], Mapping[str, Tensor]]:
    if path.name == INDEX:
        return "sharded", _config_beside(path), read_shards(path)
    if path.suffix == ".safetensors":
        return "safetensors", _config_beside(path), load_file(path)
    return _read_nemo(path)


def _from_hub(source: str, revision: str | None) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    if (
        source.count("/") != 1
        or source.startswith((".", "/"))
        or Path(source).suffix in (".nemo", ".safetensors")
    ):
        raise CheckpointNotFoundError(
            f"no checkpoint at {source}; expected a .nemo file, a folder or a hub id"
        )
    try:
        return Path(snapshot_download(source, revision=revision, allow_patterns=_HUB_FILES))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise CheckpointNotFoundError(
            f"{source} is no path here and could not be fetched from the hub ({reason}); check the id, "
            "the network, and whether the repository asks you to accept its licence and log in"
        ) from error


def _weights_in(folder: Path) -> Path:
    if (folder / INDEX).exists():
        return folder / INDEX
    found = sorted(folder.glob("*.nemo")) or sorted(folder.glob("*.safetensors"))
    if len(found) != 1:
        names = ", ".join(path.name for path in found) or "none"
        raise CheckpointNotFoundError(
            f"{folder}: expected one .nemo or one .safetensors file, found {names}; name the file itself"
        )
    return found[0]


def _read_nemo(path: Path) -> tuple[str, Mapping[str, Any], Mapping[str, Tensor]]:
    with tarfile.open(path, "r:*") as archive:
        members = {Path(member.name).name: member for member in archive.getmembers() if member.isfile()}
        for name in (_CONFIG, _WEIGHTS):
            if name not in members:
                raise CheckpointError(f"{path}: no {name} in the archive; it holds {sorted(members)}")
        config, weights = (_content(archive, members[name]) for name in (_CONFIG, _WEIGHTS))
    return "nemo", _yaml(path, config), _tensors(path, weights)


def _content(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    file = archive.extractfile(member)
    assert file is not None, "only regular files are asked for"
    return file.read()


def _yaml(path: Path, text: bytes) -> Mapping[str, Any]:
    try:
        config = OmegaConf.to_container(OmegaConf.create(text.decode()), resolve=True)
    except (OmegaConfBaseException, YAMLError, UnicodeDecodeError) as error:
        raise CheckpointError(f"{path}: {_CONFIG} cannot be read: {error}") from error
    if not isinstance(config, dict):
        raise CheckpointError(f"{path}: {_CONFIG} is no mapping")
    return {str(key): value for key, value in config.items()}


def _tensors(path: Path, content: bytes) -> Mapping[str, Tensor]:
    try:
        state = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f"{path}: {_WEIGHTS} holds pickled code or other objects beside tensors, which are never loaded"
        ) from error
    except RuntimeError as error:
        raise CheckpointError(f"{path}: {_WEIGHTS} is damaged ({error}); fetch it again") from error
    state = state.get("state_dict", state) if isinstance(state, dict) else state
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise CheckpointError(f"{path}: {_WEIGHTS} is no mapping from names to tensors")
    return state


def _config_beside(path: Path) -> Mapping[str, Any]:
    config_path = path.with_name("config.json")
    try:
        config = json.loads(config_path.read_text()) if config_path.exists() else {}
    except ValueError as error:
        raise CheckpointError(f"{config_path}: not JSON: {error}") from error
    if not isinstance(config, dict):
        raise CheckpointError(f"{config_path}: expected an object, found {type(config).__name__}")
    return config
