"""FP16 on a CPU as a GPU computes it: products of FP16 numbers, sums in FP32, results in FP16.

PyTorch's own FP16 convolutions and matrix products on a CPU are ten to fifty times slower than those in FP32.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

__all__ = ["wide_products"]

_ops = torch.ops.aten
_PRODUCTS = {
    _ops.convolution.default,
    _ops.mm.default,
    _ops.addmm.default,
    _ops.bmm.default,
    _ops.baddbmm.default,
}


def wide_products() -> AbstractContextManager[object]:
    """A context in which products of FP16 tensors are computed in FP32 and rounded."""
    return _WideProducts()  # type: ignore[no-untyped-call] # PyTorch has no types here


class _WideProducts(TorchDispatchMode):  # type: ignore[no-untyped-call]
    def __torch_dispatch__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        if func not in _PRODUCTS or not _is_half(args[0]):
            return func(*args, **kwargs or {})
        wide = [each.float() if _is_half(each) else each for each in args]
        return func(*wide, **kwargs or {}).half()


def _is_half(value: object) -> bool:
    return isinstance(value, Tensor) and value.dtype == torch.float16
