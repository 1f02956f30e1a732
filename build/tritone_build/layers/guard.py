"""Rules for inputs that are checked in the graph itself, so every server enforces them."""

import torch
from torch import Tensor

__all__ = ["require"]


@torch.library.custom_op("tritone::require", mutates_args=())
def _require(length: Tensor, holds: Tensor, rule: str) -> Tensor:
    if not bool(holds.all()):
        raise ValueError(rule)
    return length.clone()


@_require.register_fake
def _(length: Tensor, holds: Tensor, rule: str) -> Tensor:
    return torch.empty_like(length)


def require(length: Tensor, holds: Tensor, rule: str) -> Tensor:
    """Return ``length`` unchanged if all of ``holds`` is true; otherwise fail with ``rule``.

    In PyTorch the failure is a ValueError. ONNX has no assertion, so there the failure is a lookup outside
    a table of one entry, by a node named after the rule (see :mod:`tritone_build.graphs.export`): the error
    message of ONNX Runtime contains that name, whichever server runs the graph.

    Args:
        length: INT64, any shape; later computations must depend on the returned value.
        holds: BOOL, any shape.
        rule: the rule, as a sentence for the caller.
    """
    guarded: Tensor = _require(length, holds, rule)
    return guarded
