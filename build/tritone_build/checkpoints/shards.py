"""Weights in several safetensors files, with an index that says which tensor is in which."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from tritone_build.checkpoints.file_kinds import checkpoint_kind
from tritone_build.errors import CheckpointError

__all__ = ["INDEX", "INDEX_SUFFIX", "config_in", "named_weights", "read_shards", "shards_of"]

INDEX_SUFFIX = ".safetensors.index.json"
INDEX = f"model{INDEX_SUFFIX}"


def config_in(folder: Path) -> Mapping[str, Any]:
    """Of a safetensors checkpoint: ``config.json``, empty where there is none.

    Raises:
        CheckpointError: it is not JSON, or no object.
    """
    path = folder / "config.json"
    try:
        config = json.loads(path.read_text()) if path.exists() else {}
    except ValueError as error:
        raise CheckpointError(f"{path}: not JSON: {error}") from error
    if not isinstance(config, dict):
        raise CheckpointError(f"{path}: expected an object, found {type(config).__name__}")
    return config


def named_weights(folder: Path) -> Path | None:
    """The file that a folder names as its weights: by its configuration, or by having one index of shards.

    Transformers reads ``transformers_weights`` of ``config.json`` for models whose repository has their
    weights in another format, too; sesame/csm-1b is one.
    """
    named = config_in(folder).get("transformers_weights")
    if isinstance(named, str):
        return folder / Path(named).name
    found = sorted(folder.glob(f"*{INDEX_SUFFIX}"))
    if folder / INDEX in found:
        return folder / INDEX
    return found[0] if len(found) == 1 else None


def shards_of(index: Path, present: bool = True) -> list[Path]:
    """The files that an index names.

    Args:
        index: the file.
        present: whether they must be there.

    Raises:
        CheckpointError: it is no index, or one of them is missing.
    """
    files = sorted({index.with_name(Path(shard).name) for shard in _placed(index).values()})
    missing = [file.name for file in files if present and not file.exists()]
    if missing:
        raise CheckpointError(
            f"{index}: shards {', '.join(missing)} are missing beside it; fetch the whole checkpoint"
        )
    return files


def read_shards(index: Path) -> dict[str, Tensor]:
    """All tensors, mapped from their files: memory is taken as they are used.

    Raises:
        CheckpointError: a shard is missing or damaged, or holds other tensors than the index says.
    """
    placed = _placed(index)
    tensors: dict[str, Tensor] = {}
    for file in shards_of(index):
        checkpoint_kind(file)
        try:
            held = load_file(file)
        except (SafetensorError, OSError) as error:
            raise CheckpointError(f"{file}: the shard is damaged ({error}); fetch it again") from error
        expected = {name for name, shard in placed.items() if Path(shard).name == file.name}
        if held.keys() != expected:
            absent, extra = sorted(expected - held.keys()), sorted(held.keys() - expected)
            raise CheckpointError(
                f"{file}: {index.name} says otherwise of its tensors; missing: {_some(absent)}; "
                f"not in the index: {_some(extra)}; fetch both again, of one revision"
            )
        tensors |= held
    return tensors


def _placed(index: Path) -> Mapping[str, str]:
    try:
        placed = json.loads(index.read_text())["weight_map"]
        assert all(isinstance(shard, str) for shard in placed.values())
    except (ValueError, KeyError, TypeError, AttributeError, AssertionError) as error:
        raise CheckpointError(f"{index}: no index of shards: {error!r}") from error
    found: Mapping[str, str] = placed
    return found


def _some(names: list[str], limit: int = 3) -> str:
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return (", ".join(names[:limit]) or "none") + more
