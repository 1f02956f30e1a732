"""Changing and writing NeMo archives."""

import io
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import Tensor


def rewritten(archive: Path, change: Callable[[dict[str, Any], dict[str, Tensor]], None]) -> Path:
    """Rewrite the archive after ``change`` has modified its configuration and tensors; return its path."""
    with tarfile.open(archive) as tar:
        config = yaml.safe_load(tar.extractfile("./model_config.yaml"))  # type: ignore[arg-type]
        weights = tar.extractfile("./model_weights.ckpt")
        assert weights is not None
        tensors = torch.load(io.BytesIO(weights.read()), weights_only=True)
    change(config, tensors)
    buffer = io.BytesIO()
    torch.save(tensors, buffer)
    return packed(archive, yaml.safe_dump(config).encode(), buffer.getvalue())


def packed(path: Path, config: bytes, weights: bytes) -> Path:
    """Write an archive from the content of its two files; return its path."""
    with tarfile.open(path, "w") as tar:
        for name, content in (("./model_config.yaml", config), ("./model_weights.ckpt", weights)):
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return path
