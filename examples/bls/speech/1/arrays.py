"""NumPy arrays of Triton's tensors and back, by DLPack.

``as_numpy()`` and ``pb.Tensor(name, array)`` do the same, but those of Triton 24 misread the strides and the
size of arrays of NumPy 2.
"""

import ctypes
from typing import Any

import numpy as np
import triton_python_backend_utils as pb
from numpy.typing import NDArray

__all__ = ["array_of", "tensor_of"]

_CPU = 1
_TAKEN = b"used_dltensor"
_rename = ctypes.pythonapi.PyCapsule_SetName
_rename.argtypes = [ctypes.py_object, ctypes.c_char_p]


class _Exported:
    """A tensor with the methods that NumPy calls."""

    def __init__(self, tensor: Any):
        self._tensor = tensor

    def __dlpack__(self, **_: Any) -> Any:
        return self._tensor.to_dlpack()

    def __dlpack_device__(self) -> tuple[int, int]:
        return _CPU, 0


def array_of(tensor: Any) -> NDArray[Any]:
    """A copy of a tensor, whose own memory belongs to its request or response."""
    return np.from_dlpack(_Exported(tensor)).copy()


def tensor_of(name: str, array: NDArray[Any]) -> Any:
    """A tensor with a copy of an array."""
    array = array.copy()
    if not array.size:  # NumPy gives it strides of 0, which Triton takes for not contiguous
        like_full = np.empty([max(1, size) for size in array.shape], array.dtype)
        array = np.lib.stride_tricks.as_strided(like_full, array.shape, like_full.strides)
    capsule = array.__dlpack__()
    tensor = pb.Tensor.from_dlpack(name, capsule)
    _rename(capsule, _TAKEN)  # Triton gave it another name, which NumPy does not know
    return tensor
