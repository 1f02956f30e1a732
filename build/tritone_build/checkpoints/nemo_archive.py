"""NeMo's ``.nemo`` files: a tar archive, perhaps compressed, with a configuration and weights."""

import io
import pickle
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tritone_build.checkpoints.lazy_config import LazyConfig
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
    return LazyConfig(config, f"{path}: {_CONFIG}"), _tensors(path, weights)


def _content(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    file = archive.extractfile(member)
    assert file is not None, "only regular files are asked for"
    return file.read()


def _tensors(path: Path, content: bytes) -> Mapping[str, Tensor]:
    try:
        state = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f"{path}: {_WEIGHTS} holds pickled code or other objects beside tensors, which are never loaded"
        ) from error
    # The unpickler raises many other errors on a damaged file.
    except (
        ArithmeticError,
        AttributeError,
        EOFError,
        LookupError,
        OSError,
        RuntimeError,
        TypeError,
        ValueError,
    ) as error:
        raise CheckpointError(f"{path}: {_WEIGHTS} is damaged ({error}); fetch it again") from error
    state = state.get("state_dict", state) if isinstance(state, dict) else state
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise CheckpointError(f"{path}: {_WEIGHTS} is no mapping from names to tensors")
    return state
