"""Weights of large graphs in files beside the graphs, shared by all models of a codec.

A protobuf message holds at most 2 GB. A server also runs several models with the same weights (a vocoder and
the step of a stream). Such weights are kept in one file, linked into each model's folder and mapped by ONNX
Runtime, so they are in memory once, whatever the number of processes.
"""

import hashlib
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir

from tritone_build.files import atomic_write
from tritone_runtime.manifests import DATA_SUFFIX

__all__ = ["LARGEST_MESSAGE", "SharedWeights"]

LARGEST_MESSAGE = 1_500_000_000
"""Bytes of weights that stay in the message, with some room below 2 GB."""
_PAGE = 65536
_LEAST = 1 << 16
"""Smaller tensors stay in the message, because shapes are computed from some of them."""


@dataclass(frozen=True)
class _Place:
    """The position of a tensor in a file."""

    file: Path
    offset: int
    length: int


class SharedWeights:
    """The files of weights of one codec's models.

    Args:
        largest: bytes of weights up to which a graph keeps them.
    """

    def __init__(self, largest: int = LARGEST_MESSAGE):
        self._largest = largest
        self._places: dict[bytes, _Place] = {}

    def externalize(self, model: ir.Model, folder: Path, name: str) -> None:
        """Move the weights of a graph into files beside it, if it has more than the limit.

        Args:
            model: the graph; changed in place.
            folder: folder in which the graph will be written.
            name: stem of the file for the weights that no earlier model had.
        """
        values = [value for value in model.graph.initializers.values() if _size(value) >= _LEAST]
        if sum(map(_size, model.graph.initializers.values())) <= self._largest:
            return
        folder.mkdir(parents=True, exist_ok=True)
        digests = [_digest(value) for value in values]
        new = {
            digest: value for digest, value in zip(digests, values, strict=True) if digest not in self._places
        }
        if new:
            self._places |= dict(
                zip(new, _written(list(new.values()), folder / f"{name}{DATA_SUFFIX}"), strict=True)
            )
        for digest, value in zip(digests, values, strict=True):
            place = self._places[digest]
            _link(place.file, folder / place.file.name)
            value.const_value = _tensor(value, place, folder)


def _size(value: ir.Value) -> int:
    return 0 if value.const_value is None else value.const_value.nbytes


def _bytes(value: ir.Value) -> Any:
    assert value.const_value is not None
    return np.ascontiguousarray(value.const_value.numpy()).reshape(-1).view(np.uint8)


def _digest(value: ir.Value) -> bytes:
    tensor = value.const_value
    assert tensor is not None
    header = f"{tensor.dtype} {tensor.shape}".encode()
    return hashlib.sha256(header + hashlib.sha256(_bytes(value)).digest()).digest()


def _written(values: list[ir.Value], file: Path) -> Iterator[_Place]:
    """Write the tensors, each at the start of a page, in the order of their use."""
    places = []
    with atomic_write(file) as partial, partial.open("wb") as opened:
        for value in values:
            assert value.const_value is not None
            opened.seek(-(-opened.tell() // _PAGE) * _PAGE)
            places.append(_Place(file, opened.tell(), value.const_value.nbytes))
            opened.write(_bytes(value))
    yield from places


def _tensor(value: ir.Value, place: _Place, folder: Path) -> ir.ExternalTensor:
    tensor = value.const_value
    assert tensor is not None
    return ir.ExternalTensor(
        place.file.name,
        place.offset,
        place.length,
        tensor.dtype,
        shape=ir.Shape(tensor.shape.numpy()),
        name=str(value.name),
        base_dir=folder,
    )


def _link(file: Path, there: Path) -> None:
    """Link a file to a second name, or copy it if the file system has no hard links."""
    if there.exists():
        return
    try:
        os.link(file, there)
    except OSError:
        shutil.copyfile(file, there)
