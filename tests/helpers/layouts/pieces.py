"""What an incremental form of a layout gives for ids in pieces of drawn sizes."""

from collections.abc import Iterator

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from tritone_client.layouts import Layout

__all__ = ["assembled", "drawn_tokens"]


@st.composite
def drawn_tokens(draw: st.DrawFn, layout: Layout, most_frames: int = 12) -> NDArray[np.int64]:
    """Tokens [K, T] of 0 to ``most_frames`` frames; the lowest and the highest code come often."""
    shape = (layout.num_codebooks, draw(st.integers(0, most_frames)))
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    extremes = random.choice([0, layout.codebook_size - 1], shape)
    return np.where(random.random(shape) < 0.2, extremes, random.integers(0, layout.codebook_size, shape))


def assembled(
    layout: Layout, ids: NDArray[np.int64], sizes: list[int], skip: bool = False
) -> NDArray[np.int64]:
    """Tokens of ids that come in pieces of these sizes, and then all at once."""
    assembler = layout.assembler(skip)
    tokens = [assembler.push(piece) for piece in _cut(ids, sizes)]
    assembler.close()
    return np.concatenate(tokens, axis=1)


def _cut(ids: NDArray[np.int64], sizes: list[int]) -> Iterator[NDArray[np.int64]]:
    for size in sizes:
        yield ids[:size]
        ids = ids[size:]
    yield ids
