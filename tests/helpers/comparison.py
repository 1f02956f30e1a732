"""Streams against their wholes."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

import tritone_client
from scripts.common.rounding import limit_of
from tritone_server.stream_check import Comparison, compared

__all__ = ["against_whole"]


def against_whole(
    codec: tritone_client.Codec,
    tokens: NDArray[np.int64],
    heard: NDArray[np.float32],
    whole: NDArray[np.float32] | None = None,
    others: Sequence[NDArray[np.float32]] = (),
) -> Comparison:
    """What a stream of tokens [K, T] gave, against the whole, within the limit of these tokens.

    ``others`` are the wholes of streams beside it, whose frames are recognised.
    """
    whole = codec.decode(tokens) if whole is None else whole
    named = {f"neighbour {number}": each for number, each in enumerate(others)}
    return compared(whole, heard, codec.info.samples_per_frame, limit_of(codec, tokens), named)
