"""Peers that keep streams: one step of theirs, to be timed beside one of ours."""

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path
from typing import Protocol

from safetensors.torch import save_file
from torch import Tensor

from scripts.peers import moshi, openmoss
from scripts.peers.layouts import all_layouts
from scripts.peers.rustymimi import RustyMimi
from tritone_build.checkpoints.checkpoint import Checkpoint

__all__ = ["Opening", "StepPeer", "streaming_peers"]


class StepPeer(Protocol):
    """Some streams that advance together; each call continues where the last one ended."""

    def encode_step(self, audio: Tensor) -> Tensor:
        """Audio FP32 [B, 1, hop] -> tokens [B, K, 1]."""
        ...

    def decode_step(self, tokens: Tensor) -> Tensor:
        """Tokens [B, K, 1] -> audio FP32 [B, 1, hop]."""
        ...


class Opening(Protocol):
    """Fresh streams for as long as the context lasts, ``batch`` of them."""

    def __call__(self, batch: int) -> AbstractContextManager[StepPeer]:
        """See the class."""
        ...


def streaming_peers(checkpoint: Checkpoint, num_codebooks: int) -> Mapping[str, Opening]:
    """By package, those that keep streams of this network; none for most codecs."""
    for each in all_layouts(checkpoint):
        if moshi.recognises(each):
            streaming = partial(moshi.reference(each).streaming, num_codebooks=num_codebooks)
            return {"moshi": streaming, "rustymimi": partial(_rustymimi, each, num_codebooks)}
        if openmoss.recognises(each):
            return {"openmoss": partial(openmoss.reference(each).streaming, num_codebooks=num_codebooks)}
    return {}


@contextmanager
def _rustymimi(checkpoint: Checkpoint, num_codebooks: int, batch: int) -> Iterator[StepPeer]:
    del batch  # its first step settles it
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "mimi.safetensors")
        save_file({name: tensor.contiguous() for name, tensor in checkpoint.tensors.items()}, path)
        yield RustyMimi(path, num_codebooks)
