"""Keep a model's process alive when a client sends an impossible shape: a negative or a huge dimension.

Triton 24.10 compares a tensor's size with its shape modulo 2**64, so the shape [1, 8, 2**58 + 1] passes with
64 bytes. Triton then creates a NumPy array of that shape before any of our Python code runs, and NumPy's
exception ends the model's process. After one such request the model fails for all clients until the server
is restarted.
"""

import ctypes
import importlib
from collections.abc import Callable, Sequence
from math import prod
from typing import Any

__all__ = ["is_possible", "survive_impossible_shapes"]

_MOST_BYTES, _LARGEST_ITEM = 2**63 - 1, 8
_NEW_FROM_DESCR, _ENTRIES = 94, 300
"""Index of PyArray_NewFromDescr in NumPy's table of C functions, and how many entries pybind11 may read."""
_TABLE = "_ARRAY_API"
_MODULES = ("numpy._core.multiarray", "numpy.core.multiarray")  # pybind11 imports the second one
_capsule_new = ctypes.pythonapi.PyCapsule_New
_capsule_new.restype, _capsule_new.argtypes = ctypes.py_object, [ctypes.c_void_p] * 3
_capsule_pointer = ctypes.pythonapi.PyCapsule_GetPointer
_capsule_pointer.restype, _capsule_pointer.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_void_p]
_Make = ctypes.PYFUNCTYPE(
    ctypes.py_object,
    *(ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int, ctypes.POINTER(ctypes.c_ssize_t)),
    *(ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p),
)
_kept: list[Any] = []
"""Objects that the server's stub refers to until its process ends."""


def is_possible(shape: Sequence[int]) -> bool:
    """Whether an array of any supported type can have the shape."""
    return (
        all(size >= 0 for size in shape)
        and prod(max(1, size) for size in shape) <= _MOST_BYTES // _LARGEST_ITEM
    )


def survive_impossible_shapes(look_up: Callable[[], object]) -> None:
    """Make the stub create an empty array for an impossible shape; its tensor still reports the sent shape.

    Args:
        look_up: a call that makes the stub look up NumPy's functions, which it does once.
    """
    modules = [importlib.import_module(name) for name in _MODULES]
    known = vars(modules[0])[_TABLE]
    table = (ctypes.c_void_p * _ENTRIES).from_buffer_copy(
        (ctypes.c_void_p * _ENTRIES).from_address(_capsule_pointer(known, None))
    )
    made = _Make(table[_NEW_FROM_DESCR] or 0)

    def make(kind: int, item: int, axes: int, sizes: Any, *more: Any) -> object:
        if is_possible(sizes[:axes]):
            return made(kind, item, axes, sizes, *more)
        return made(kind, item, 1, (ctypes.c_ssize_t * 1)(0), *more)

    hook = _Make(make)
    table[_NEW_FROM_DESCR] = ctypes.cast(hook, ctypes.c_void_p).value
    _kept.extend((hook, table))
    ours = _capsule_new(ctypes.addressof(table), None, None)
    for module in modules:
        vars(module)[_TABLE] = ours
    try:
        look_up()
    finally:
        for module in modules:
            vars(module)[_TABLE] = known
