"""Seeded random weights, written in the very formats in which checkpoints are published.

For tests, and for a demo where no checkpoint can be had: what they decode to is noise.
"""

import io
import json
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, TypeAlias

import torch
import yaml
from safetensors.torch import save_file
from torch import Tensor

from tritone_build import weight_norm
from tritone_build.checkpoints import Checkpoint
from tritone_build.codecs import family_of
from tritone_build.weight_norm import Spelling

__all__ = ["Layout", "write_fixture"]

Layout: TypeAlias = Literal["nemo", "nemo.gz", "safetensors"]


def write_fixture(
    config: Mapping[str, Any],
    path: Path,
    seed: int = 0,
    layout: Layout = "nemo",
    spelling: Spelling = Spelling.PARAMETRIZED,
) -> Path:
    """Write a checkpoint of the network ``config`` describes and return the file with its weights.

    Args:
        config: as in a published checkpoint; :data:`tritone_build.codecs.VARIANTS` has those.
        path: a file for ``nemo`` (a tar archive) and ``nemo.gz``, a folder for ``safetensors``.
        seed: the same seed gives the same weights in every layout and spelling.
        layout: NeMo's archive, plain or compressed, or ``config.json`` beside ``model.safetensors``.
        spelling: how normalized weights are stored.
    """
    generator = torch.Generator().manual_seed(seed)
    family = family_of(Checkpoint("this configuration", layout, config, {}, sha256=""))
    tensors = family.seeded_tensors(config, generator)
    tensors = weight_norm.unfold(tensors, spelling, generator)
    if layout == "safetensors":
        return _write_safetensors(path, config, tensors)
    return _write_nemo(path, config, tensors, "w:gz" if layout == "nemo.gz" else "w")


def _write_nemo(
    path: Path, config: Mapping[str, Any], tensors: dict[str, Tensor], mode: Literal["w", "w:gz"]
) -> Path:
    weights = io.BytesIO()
    torch.save(tensors, weights)
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


def _write_safetensors(folder: Path, config: Mapping[str, Any], tensors: dict[str, Tensor]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config, indent=2))
    save_file(tensors, folder / "model.safetensors")
    return folder / "model.safetensors"
