"""Weights of large graphs in files beside them, the same weights once for all models of a codec.

A message of protobuf ends at 2 GB. And a server runs several models with the same weights (a vocoder and the
step of a stream): kept in one file, linked into each model's folder and mapped by ONNX Runtime, they are in
memory once, whatever the number of processes.
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

from tritone_build.files import written_whole
from tritone_runtime.manifests import DATA_SUFFIX

__all__ = ["LARGEST_MESSAGE", "SharedWeights"]

LARGEST_MESSAGE = 1_500_000_000
"""Bytes of weights that a message may hold, with some room below 2 GB."""
_PAGE = 65536
_LEAST = 1 << 16
"""Smaller tensors stay in the message: shapes are computed from some."""


@dataclass(frozen=True)
class _Place:
    """A tensor's bytes in a file."""

    file: Path
    offset: int
    length: int


class SharedWeights:
    """Files of weights that were written for the models of one codec.

    Args:
        largest: bytes of weights that a graph keeps to itself.
    """

    def __init__(self, largest: int = LARGEST_MESSAGE):
        self._largest = largest
        self._places: dict[bytes, _Place] = {}

    def set_aside(self, model: ir.Model, folder: Path, name: str) -> None:
        """Move the weights of a graph that has too many into files of the folder that it will lie in.

        Args:
            model: changed in place.
            folder: of the model.
            name: of the file with the weights that no model before had.
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
    told = f"{tensor.dtype} {tensor.shape}".encode()
    return hashlib.sha256(told + hashlib.sha256(_bytes(value)).digest()).digest()


def _written(values: list[ir.Value], file: Path) -> Iterator[_Place]:
    """Each at the start of a page, in the order in which they are used."""
    places = []
    with written_whole(file) as partial, partial.open("wb") as opened:
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
    """One file under two names, or a copy where the file system has no links."""
    if there.exists():
        return
    try:
        os.link(file, there)
    except OSError:
        shutil.copyfile(file, there)
