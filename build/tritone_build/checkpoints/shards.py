"""Weights in several safetensors files (shards), with an index that says which file has which tensor."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from tritone_build.checkpoints.file_kinds import checkpoint_kind
from tritone_build.errors import CheckpointError

__all__ = [
    "CODEC_FOLDER",
    "INDEX",
    "INDEX_SUFFIX",
    "codec_folder",
    "config_in",
    "named_weights",
    "read_shards",
    "shards_of",
]

INDEX_SUFFIX = ".safetensors.index.json"
INDEX = f"model{INDEX_SUFFIX}"
CODEC_FOLDER = "speech_tokenizer"
"""The folder in which Qwen3-TTS's checkpoints hold their codec, beside the weights of the language model."""


def codec_folder(folder: Path) -> Path:
    """Return the folder of the codec in a larger model's checkpoint, else the checkpoint's own folder."""
    inner = folder / CODEC_FOLDER
    return inner if (inner / "config.json").exists() else folder


def config_in(folder: Path) -> Mapping[str, Any]:
    """Read the ``config.json`` of a safetensors checkpoint; empty if there is none.

    Raises:
        CheckpointError: the file is not a JSON object.
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
    """Return the file of weights that the configuration of a folder names, or its only index of shards.

    The key is ``transformers_weights``, which transformers reads for models whose repository also has the
    weights in another format, such as sesame/csm-1b.
    """
    named = config_in(folder).get("transformers_weights")
    if isinstance(named, str):
        return folder / Path(named).name
    found = sorted(folder.glob(f"*{INDEX_SUFFIX}"))
    if folder / INDEX in found:
        return folder / INDEX
    return found[0] if len(found) == 1 else None


def shards_of(index: Path, present: bool = True) -> list[Path]:
    """Return the files that an index names.

    Args:
        index: the index file.
        present: whether the shards must exist.

    Raises:
        CheckpointError: the file is not an index, or a shard is missing.
    """
    files = sorted({index.with_name(Path(shard).name) for shard in _placed(index).values()})
    missing = [file.name for file in files if present and not file.exists()]
    if missing:
        raise CheckpointError(
            f"{index}: shards {', '.join(missing)} are missing beside it; fetch the whole checkpoint"
        )
    return files


def read_shards(index: Path) -> dict[str, Tensor]:
    """Read all tensors, memory-mapped: they take memory only when they are used.

    Raises:
        CheckpointError: a shard is missing or damaged, or holds other tensors than the index lists.
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
                f"{file}: its tensors are not those that {index.name} lists; missing: {_some(absent)}; "
                f"not in the index: {_some(extra)}; fetch both again, from the same revision"
            )
        tensors |= held
    return tensors


def _placed(index: Path) -> Mapping[str, str]:
    try:
        placed = json.loads(index.read_text())["weight_map"]
        assert all(isinstance(shard, str) for shard in placed.values())
    except (ValueError, KeyError, TypeError, AttributeError, AssertionError) as error:
        raise CheckpointError(f"{index}: not an index of shards: {error!r}") from error
    found: Mapping[str, str] = placed
    return found


def _some(names: list[str], limit: int = 3) -> str:
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return (", ".join(names[:limit]) or "none") + more
