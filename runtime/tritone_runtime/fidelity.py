"""How close two signals are."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["differing_share", "snr_db"]


def snr_db(reference: NDArray[Any], ours: NDArray[Any]) -> float:
    """Signal-to-noise ratio in dB of ``ours`` against ``reference``, of one shape; infinite if equal.

    Raises:
        ValueError: the shapes differ, so samples were lost or added.
    """
    if reference.shape != ours.shape:
        raise ValueError(f"the reference is {list(reference.shape)}, ours {list(ours.shape)}")
    signal = float(np.square(reference, dtype=np.float64).sum())
    noise = float(np.square(np.subtract(reference, ours, dtype=np.float64)).sum())
    if not np.isfinite(noise):
        return -float("inf")
    return float(10 * np.log10(signal / noise)) if noise else float("inf")


def differing_share(reference: NDArray[Any], ours: NDArray[Any]) -> float:
    """Share of entries that differ; ValueError when the shapes do."""
    if reference.shape != ours.shape:
        raise ValueError(f"the reference is {list(reference.shape)}, ours {list(ours.shape)}")
    return float(np.mean(reference != ours))
