"""The arrays that callers may pass, and the difference between one utterance and a list of utterances."""

from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from os import PathLike
from typing import Any, NamedTuple, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from tritone_client.errors import TritoneError

__all__ = [
    "ArrayLike",
    "AudioLike",
    "ManyAudio",
    "ManyTokens",
    "TokensLike",
    "Utterances",
    "as_array",
    "utterances",
]


class ArrayLike(Protocol):
    """An array of any library that NumPy can view: NumPy's own, PyTorch's, JAX's."""

    def __array__(self) -> NDArray[Any]:
        """The same values for NumPy."""


TokensLike: TypeAlias = ArrayLike | Sequence[Sequence[int]]
"""Tokens [K, T] of one utterance: an array, or nested lists."""
ManyTokens: TypeAlias = Sequence[ArrayLike] | Sequence[Sequence[Sequence[int]]]
"""A list of utterances as tokens."""
AudioLike: TypeAlias = ArrayLike | Sequence[float]
"""Audio of one utterance: an array [S] or [C, S], or a list of numbers."""
ManyAudio: TypeAlias = Sequence[ArrayLike] | Sequence[Sequence[float]]
"""A list of utterances as audio; nested lists are one utterance [C, S] for a codec with C > 1 channels."""

_NO_ARRAYS = (str, bytes, bytearray, PathLike, Mapping, Set, Iterator, type(None))


def as_array(value: Any, expected: str, error: type[TritoneError]) -> NDArray[Any]:
    """``value`` as NumPy views it; a tensor on a GPU is copied from there.

    Raises:
        TritoneError: the value is not an array; the error is an ``error`` and begins with ``expected``.
    """
    if isinstance(value, np.ndarray):
        return value
    if isinstance(value, _NO_ARRAYS):
        raise error(f"{expected}, as an array or nested lists; got {_described(value)}")
    try:
        return _viewed(value)
    except Exception as failure:  # a type of another library may raise anything
        raise error(
            f"{expected}, as an array or nested lists; NumPy cannot view {_described(value)}: {failure}"
        ) from failure


def _viewed(value: Any) -> NDArray[Any]:
    if hasattr(value, "detach"):
        return _viewed_tensor(value)
    if isinstance(value, list | tuple) and any(_needs_a_view(each) for each in value):
        return np.asarray([_viewed(each) for each in value])
    return np.asarray(value)


def _needs_a_view(value: Any) -> bool:
    return isinstance(value, list | tuple) or hasattr(value, "detach")


def _viewed_tensor(tensor: Any) -> NDArray[Any]:
    """A tensor of PyTorch on any device, with or without gradients; bfloat16 as FP32, as NumPy lacks it."""
    on_cpu = tensor.detach().cpu()
    viewed: NDArray[Any] = np.asarray(on_cpu.float() if str(on_cpu.dtype) == "torch.bfloat16" else on_cpu)
    return viewed


def _described(value: Any) -> str:
    kind = type(value).__name__
    if isinstance(value, Mapping):
        return f"a {kind} with {', '.join(map(repr, value)) or 'nothing in it'}; pass one array of it"
    if isinstance(value, str | PathLike):
        return f"the {kind} {str(value)!r}; if that is a file, read it first"
    if isinstance(value, bytes | bytearray):
        return f"{len(value)} {kind}; give them a type with numpy.frombuffer"
    if isinstance(value, list | tuple):
        sizes = [len(each) for each in value if hasattr(each, "__len__")]
        return f"a {kind} of {len(value)}" + (f", {min(sizes)} to {max(sizes)} in each" if sizes else "")
    shape = getattr(value, "shape", None)
    return kind if shape is None else f"{kind} {list(shape)}"


class Utterances(NamedTuple):
    """Utterances; ``several`` if the caller gave a list: results have the same form."""

    items: list[Any]
    several: bool


def utterances(given: Any, axes: int, whole_arrays: bool = False) -> Utterances:
    """Whether ``given`` is one utterance with ``axes`` axes, or a list of utterances.

    An array is one utterance. A list is one utterance if its items have fewer axes than an utterance,
    such as the K rows of tokens [K, T]. With ``whole_arrays`` an array in a list is an utterance in any case,
    such as audio of one channel for a codec that has two.
    """
    if isinstance(given, Iterator):
        return Utterances(list(given), several=True)
    opaque = (*_NO_ARRAYS, memoryview)
    if hasattr(given, "__array__") or isinstance(given, opaque) or not isinstance(given, Iterable):
        return Utterances([given], several=False)
    items = list(given)
    several = not items or max(map(_axes, items)) >= axes
    several = several or (whole_arrays and any(_is_array(each) for each in items))
    return Utterances(items, True) if several else Utterances([items], False)


def _is_array(value: Any) -> bool:
    return hasattr(value, "__array__") and _axes(value) > 0  # NumPy's numbers have it too


def _axes(value: Any) -> int:
    if isinstance(value, list | tuple):
        return 1 + (_axes(value[0]) if value else 0)
    if hasattr(value, "ndim"):
        return int(value.ndim)
    return np.ndim(np.asarray(value)) if hasattr(value, "__array__") else int(isinstance(value, array))
