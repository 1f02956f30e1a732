"""The state tensors of a stream, as a model's metadata list them."""

import json
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

__all__ = ["StateTensor", "state_tensors"]


@dataclass(frozen=True)
class StateTensor:
    """A state tensor: the shape of one stream; for a ring buffer, its axis and the output with its places."""

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[np.generic]
    ring_axis: int | None = None
    places: str | None = None


def state_tensors(metadata: Mapping[str, str]) -> list[StateTensor]:
    """The state tensors that a model's metadata list."""
    return [
        StateTensor(
            each["name"], tuple(each["shape"]), np.dtype(each["dtype"]), each["ring_axis"], each["places"]
        )
        for each in json.loads(metadata["state"])
    ]
