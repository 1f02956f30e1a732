"""Rules that hold in the graph itself, so that every server refuses what breaks them."""

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
    """Pass ``length`` on unchanged where ``holds`` is true throughout; fail with ``rule`` elsewhere.

    In PyTorch the failure is a ValueError. In ONNX, which has no assertion, it is a lookup outside
    a table of one entry by a node named after the rule (see :mod:`tritone_build.graphs.export`), so that
    ONNX Runtime's own message states the rule, whichever server runs it.

    Args:
        length: INT64, any shape; what comes after must depend on the returned value.
        holds: BOOL, any shape.
        rule: what must hold, as a sentence for the caller.
    """
    guarded: Tensor = _require(length, holds, rule)
    return guarded
