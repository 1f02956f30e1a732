"""NeMo's ``.nemo`` files: a tar archive, perhaps compressed, with a configuration and weights."""

import io
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from tritone_build.checkpoints.lazy_config import LazyConfig
from tritone_build.checkpoints.pickled import tensors_in, unpickled
from tritone_build.errors import CheckpointError

__all__ = ["read_nemo"]

_CONFIG, _WEIGHTS = "model_config.yaml", "model_weights.ckpt"


def read_nemo(path: Path) -> tuple[Mapping[str, Any], Mapping[str, Tensor]]:
    """Read the configuration (see :class:`LazyConfig`) and the tensors by name.

    Raises:
        CheckpointError: a member is missing or damaged, or holds pickled code.
        TarError, EOFError, OSError: the file is truncated or not an archive.
    """
    with tarfile.open(path, "r:*") as archive:
        members = {Path(member.name).name: member for member in archive.getmembers() if member.isfile()}
        for name in (_CONFIG, _WEIGHTS):
            if name not in members:
                raise CheckpointError(f"{path}: no {name} in the archive; it holds {sorted(members)}")
        config, weights = (_content(archive, members[name]) for name in (_CONFIG, _WEIGHTS))
    named = f"{path}: {_WEIGHTS}"
    tensors = tensors_in(unpickled(io.BytesIO(weights), named), named)
    return LazyConfig(config, f"{path}: {_CONFIG}"), tensors


def _content(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    file = archive.extractfile(member)
    assert file is not None, "only regular files are asked for"
    return file.read()
