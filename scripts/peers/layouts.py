"""A checkpoint in every layout in which its codec is published, since each implementation reads one only."""

from collections.abc import Iterator
from dataclasses import replace

import torch

from tritone_build.checkpoints.checkpoint import Checkpoint
from tritone_build.codecs import mimi
from tritone_build.codecs.configs.mimi import PUBLISHED, parse
from tritone_build.codecs.names import mimi as mimi_names

__all__ = ["all_layouts"]


def all_layouts(checkpoint: Checkpoint) -> Iterator[Checkpoint]:
    """Yield the checkpoint and, for Mimi, the same tensors in the other layout (Kyutai's, Hugging Face's)."""
    yield checkpoint
    layout = mimi_names.layout_of(checkpoint.tensors)
    if layout is None:
        return
    config = parse(checkpoint.config or PUBLISHED)
    heads = config.transformer.num_heads
    if layout == "kyutai":
        other = mimi_names.to_hugging_face(checkpoint.tensors, heads)
    else:
        with torch.device("meta"):
            names = mimi.Network(config).published()
        other = mimi_names.to_kyutai(checkpoint.tensors, names, heads)
    yield replace(checkpoint, tensors=other)
