"""Seeded random weights, written in the formats in which checkpoints are published.

For tests, and for the demo if no checkpoint is available: they decode to noise.
"""

import io
import json
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import torch
import yaml
from safetensors.torch import save_file
from torch import Tensor

from tritone_build.checkpoints import weight_norm
from tritone_build.checkpoints.checkpoint import Checkpoint
from tritone_build.checkpoints.shards import INDEX
from tritone_build.checkpoints.weight_norm import Spelling
from tritone_build.codecs import family_of
from tritone_build.errors import CheckpointError

__all__ = ["write_fixture", "write_nemo"]

_SHARD_BYTES = 5_000_000_000
_SPELLINGS = {"transformers": Spelling.PLAIN, "pth": Spelling.HOOKED, "parler": Spelling.HOOKED}


def write_fixture(
    config: Mapping[str, Any],
    path: Path,
    seed: int = 0,
    layout: str | None = None,
    spelling: Spelling | None = None,
    shards: int | None = None,
) -> Path:
    """Write a checkpoint of the network that ``config`` describes and return the file with its weights.

    Args:
        config: the configuration, as in a published checkpoint (see :data:`tritone_build.codecs.VARIANTS`).
        path: a file for ``nemo`` (a tar archive), ``nemo.gz``, ``kyutai`` (safetensors alone) and ``pth``,
            a folder for the other layouts.
        seed: the same seed gives the same weights in every layout and spelling.
        layout: ``nemo`` and ``nemo.gz`` are NeMo's archive, plain or compressed; ``safetensors`` is
            ``config.json`` beside ``model.safetensors``, as on the Hugging Face hub; ``sharded`` has shards
            and their index instead; ``kyutai`` is Kyutai's file alone. ``transformers`` is like
            ``safetensors``, without weight norm. ``bin`` has ``pytorch_model.bin``, a file of torch.save, in
            place of safetensors; ``pth`` is Descript's file of torch.save, with the configuration in it;
            ``parler`` is like ``safetensors``, with the names of Parler-TTS. Default: the first layout in
            which the codec is published.
        spelling: how normalized weights are stored, if the codec has any. Default: as in that layout.
        shards: number of files in the layout ``sharded``. Default: each has at most 5 GB, the limit of
            Hugging Face's writer.

    Raises:
        CheckpointError: the codec is not published in that layout.
    """
    generator = torch.Generator().manual_seed(seed)
    family = family_of(Checkpoint("this configuration", "", config, {}, sha256=""))
    layout = layout or family.LAYOUTS[0]
    if layout not in family.LAYOUTS:
        raise CheckpointError(f"the codec has no layout {layout!r}; it has: {', '.join(family.LAYOUTS)}")
    tensors = family.in_layout(family.seeded_tensors(config, generator), layout, config)
    spelling = spelling or _SPELLINGS.get(layout, Spelling.PARAMETRIZED)
    tensors = weight_norm.unfold(tensors, spelling, generator, family.NORMALIZED)
    tensors = {name: tensor.contiguous() for name, tensor in tensors.items()}
    if layout in ("safetensors", "transformers", "parler"):
        return _write_safetensors(path / "model.safetensors", config, tensors)
    if layout == "bin":
        _write_config(path, config)
        return _write_pickled(path / "pytorch_model.bin", tensors)
    if layout == "pth":
        return _write_pickled(path, {"state_dict": tensors, "metadata": {"kwargs": dict(config)}})
    if layout == "sharded":
        return _write_shards(path, config, tensors, shards)
    if layout == "kyutai":
        bare = any(config == variant.config for variant in family.VARIANTS)
        return _write_safetensors(path, None if bare else config, tensors)
    return write_nemo(path, config, tensors, "w:gz" if layout == "nemo.gz" else "w")


def write_nemo(
    path: Path, config: Mapping[str, Any], tensors: Mapping[str, Tensor], mode: Literal["w", "w:gz"] = "w"
) -> Path:
    """Write a NeMo archive of a configuration and of tensors by published name, atomically."""
    weights = io.BytesIO()
    torch.save(dict(tensors), weights)
    members = {
        "model_config.yaml": yaml.safe_dump(dict(config)).encode(),
        "model_weights.ckpt": weights.getvalue(),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    with tarfile.open(partial, mode) as archive:
        for name, content in members.items():
            member = tarfile.TarInfo(f"./{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return partial.rename(path)


def _write_safetensors(path: Path, config: Mapping[str, Any] | None, tensors: dict[str, Tensor]) -> Path:
    """Write weights, and ``config.json`` beside them unless the published configuration holds."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if config is not None:
        _write_config(path.parent, config)
    save_file(tensors, path)
    return path


def _write_config(folder: Path, config: Mapping[str, Any]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config, indent=2))


def _write_pickled(path: Path, content: Mapping[str, Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(content, path)
    return path


def _write_shards(
    folder: Path, config: Mapping[str, Any], tensors: dict[str, Tensor], count: int | None
) -> Path:
    """Write shards of about equal size and return their index."""
    total, begun = sum(tensor.nbytes for tensor in tensors.values()), 0
    count = count or -(-total // _SHARD_BYTES)
    shards: tuple[dict[str, Tensor], ...] = tuple({} for _ in range(count))
    for name, tensor in tensors.items():
        shards[count * begun // total][name] = tensor
        begun += tensor.nbytes
    names = [f"model-{n + 1:05}-of-{len(shards):05}.safetensors" for n in range(len(shards))]
    for name, shard in zip(names, shards, strict=True):
        _write_safetensors(folder / name, config, shard)
    placed = {tensor: name for name, shard in zip(names, shards, strict=True) for tensor in shard}
    index = folder / INDEX
    index.write_text(json.dumps({"metadata": {"total_size": total}, "weight_map": placed}, indent=2))
    return index
