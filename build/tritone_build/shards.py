"""Weights in several safetensors files, with an index that says which tensor is in which."""

import json
from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from tritone_build.errors import CheckpointError

__all__ = ["INDEX", "read_shards", "shards_of"]

INDEX = "model.safetensors.index.json"


def shards_of(index: Path) -> list[Path]:
    """The files that an index names.

    Raises:
        CheckpointError: it is no index, or one of them is missing.
    """
    files = sorted({index.with_name(Path(shard).name) for shard in _placed(index).values()})
    missing = [file.name for file in files if not file.exists()]
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
