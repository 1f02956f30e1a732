"""Files of ``torch.save``, from which tensors and plain values are read, and never code.

Such files are pickles. PyTorch's restricted unpickler builds tensors, containers, numbers and strings only,
and stops at anything else before it runs.
"""

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import torch
from torch import Tensor

from tritone_build.errors import CheckpointError

__all__ = ["read_pickled", "tensors_in", "unpickled"]


def read_pickled(path: Path) -> tuple[Mapping[str, Any], Mapping[str, Tensor]]:
    """Read the tensors of a file by name, and the arguments of the model's class if the file holds them.

    The file is a mapping from names to tensors, or holds one as ``state_dict``. Descript's files have the
    arguments as ``metadata["kwargs"]`` beside it; without them the result is empty.

    Raises:
        CheckpointError: the file is damaged, holds code, or no tensors.
    """
    content = unpickled(path, str(path))
    metadata = content.get("metadata") if isinstance(content, Mapping) else None
    kwargs = metadata.get("kwargs", {}) if isinstance(metadata, Mapping) else {}
    return kwargs if isinstance(kwargs, Mapping) else {}, tensors_in(content, str(path))


def unpickled(file: Path | IO[bytes], named: str) -> Any:
    """The content of a file of ``torch.save``; CheckpointError begins with ``named``."""
    try:
        return torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f"{named} holds pickled code or other objects beside tensors, which are never loaded; take the "
            "file of its publisher, or, if you trust this one, write its tensors to a safetensors file"
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
        raise CheckpointError(f"{named} is damaged ({error}); fetch it again") from error


def tensors_in(content: Any, named: str) -> Mapping[str, Tensor]:
    """The mapping from names to tensors that is ``content``, or its ``state_dict``.

    Raises:
        CheckpointError: there is none; the message begins with ``named``.
    """
    state = content.get("state_dict", content) if isinstance(content, dict) else content
    if not isinstance(state, dict) or not all(
        isinstance(name, str) and isinstance(value, Tensor) for name, value in state.items()
    ):
        raise CheckpointError(f"{named} is no mapping from names to tensors")
    return state
