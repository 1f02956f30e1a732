"""Convert requests and answers of Triton's Python backend from and to NumPy arrays.

Arrays are exchanged with DLPack in both directions. Triton 24.10's NumPy conversions were compiled for
NumPy 1: with NumPy 2 they read every element size as zero, so inputs repeat their first element and outputs
are empty.

An answer may have an output ``nonce``, which returns the request's parameter ``tritone_nonce``. By it a
client notices that Triton gave it the answer to another request (see ``process_guard.py``).
"""

import ctypes
import json
from collections.abc import Mapping
from math import prod
from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils
from numpy.typing import NDArray

from tritone_runtime.errors import BadInputError
from tritone_runtime.limits import RequestLimits
from tritone_server.backend.shapes import is_possible

__all__ = ["NONCE", "Inputs", "answer_of", "failure", "nonce_of", "parameters_of"]

NONCE, _LATENT_NONCE, _PARAMETER = "nonce", "latent_nonce", "tritone_nonce"
_CPU = 1  # DLPack's kDLCPU
_TAKEN = b"used_dltensor"
_rename = ctypes.pythonapi.PyCapsule_SetName
_rename.argtypes = [ctypes.py_object, ctypes.c_char_p]


def parameters_of(request: Any) -> dict[str, Any]:
    """The request's parameters, without Triton's own."""
    found: dict[str, Any] = json.loads(request.parameters() or "{}")
    return found


def nonce_of(request: Any) -> NDArray[np.int64]:
    """The nonce [B, 1] to return: the latent's if there is one, else the request's, else 0."""
    passed_on = pb_utils.get_input_tensor_by_name(request, _LATENT_NONCE)
    if passed_on is not None:
        return _array(_LATENT_NONCE, passed_on).astype(
            np.int64
        )  # a copy, since Triton's array must not be exported
    given = parameters_of(request).get(_PARAMETER)
    return np.array([[given if type(given) is int else 0]], np.int64)


def answer_of(request: Any, arrays: Mapping[str, NDArray[np.generic]]) -> Any:
    """An answer with the outputs, by name, and with the nonce if the request asks for it."""
    arrays = dict(arrays)
    if NONCE in request.requested_output_names():
        nonce, rows = nonce_of(request), max((len(array) for array in arrays.values()), default=1)
        arrays[NONCE] = nonce if len(nonce) == rows else np.repeat(nonce[:1], rows, axis=0)
    tensors = [_tensor(name, array) for name, array in arrays.items()]
    return pb_utils.InferenceResponse(output_tensors=tensors)


def failure(message: str, code: str) -> Any:
    """An answer with an error; ``code`` is the name of one of Triton's error codes."""
    error = pb_utils.TritonError(message, getattr(pb_utils.TritonError, code))
    return pb_utils.InferenceResponse(error=error)


def _tensor(name: str, array: Any) -> Any:
    # Pass a capsule, not the array: the server takes 0.3 ms to get the capsule of an array.
    capsule = _exported(array)
    tensor = pb_utils.Tensor.from_dlpack(name, capsule)
    # The server marks the capsule as used with a name that NumPy does not know, which NumPy would log.
    _rename(capsule, _TAKEN)
    return tensor


def _exported(array: Any) -> Any:
    if array.size == 0:
        # The server takes the strides that NumPy gives empty arrays for not contiguous.
        strides = [array.itemsize * prod(array.shape[axis + 1 :]) for axis in range(array.ndim)]
        array = np.lib.stride_tricks.as_strided(np.zeros(1, array.dtype), array.shape, strides)
    elif not array.flags.c_contiguous:  # PyTorch may leave the channels of audio last in memory
        array = np.ascontiguousarray(array)
    return array.__dlpack__()


class _Capsule:
    """A server tensor with the DLPack methods that NumPy calls; the server's lack the new arguments."""

    def __init__(self, tensor: Any):
        self._capsule = tensor.to_dlpack()

    def __dlpack__(self, **_: Any) -> Any:
        return self._capsule

    def __dlpack_device__(self) -> tuple[int, int]:
        return _CPU, 0


class Inputs:
    """Reads and checks the inputs of requests.

    Args:
        names: names of the model's inputs.
        limits: limits of its requests.
    """

    def __init__(self, names: list[str], limits: RequestLimits):
        self._names, self._limits = [name for name in names if name != _LATENT_NONCE], limits

    def of(self, request: Any, begins: bool = True) -> dict[str, NDArray[np.generic]]:
        """The request's inputs by name; optional inputs may be missing.

        The number of codebooks is checked if the request begins a stream or belongs to none; the scheduler
        compares later requests of a stream with its first.

        Raises:
            BadInputError: an input is too long, or has an impossible shape or number of codebooks.
        """
        tensors = {name: pb_utils.get_input_tensor_by_name(request, name) for name in self._names}
        given = {name: _array(name, tensor) for name, tensor in tensors.items() if tensor is not None}
        self._limits.check(given, begins)
        return given


def _array(name: str, tensor: Any) -> NDArray[np.generic]:
    shape = tensor.shape()
    if not is_possible(shape):
        raise BadInputError(f"{name} has the impossible shape {list(shape)}")
    array: NDArray[np.generic] = np.from_dlpack(_Capsule(tensor))
    return array
