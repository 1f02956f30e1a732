"""Rules for inputs that are checked in the graph itself, so every server enforces them."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch
from torch import Tensor

__all__ = ["kept_rules", "require"]

_noted: ContextVar[dict[str, Tensor] | None] = ContextVar("noted", default=None)


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
    noted = _noted.get()
    if noted is not None:
        noted[rule] = holds.all()
        return length
    guarded: Tensor = _require(length, holds, rule)
    return guarded


@contextmanager
def kept_rules() -> Iterator[dict[str, Tensor]]:
    """A context in which :func:`require` does not fail; by rule, whether it is kept, BOOL [].

    It is for devices on which a failing lookup would end the process. Networks compute something for
    inputs that break a rule, which the caller must not use.
    """
    rules: dict[str, Tensor] = {}
    token = _noted.set(rules)
    try:
        yield rules
    finally:
        _noted.reset(token)
