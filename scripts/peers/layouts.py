"""A checkpoint in every layout in which its codec is published, since each implementation reads one only."""

from collections.abc import Iterator
from dataclasses import replace

import torch

from tritone_build.checkpoints import weight_norm
from tritone_build.checkpoints.checkpoint import Checkpoint
from tritone_build.codecs import mimi
from tritone_build.codecs.configs import dac as dac_config
from tritone_build.codecs.configs.mimi import PUBLISHED, parse
from tritone_build.codecs.names import dac as dac_names
from tritone_build.codecs.names import mimi as mimi_names

__all__ = ["all_layouts"]


def all_layouts(checkpoint: Checkpoint) -> Iterator[Checkpoint]:
    """Yield the checkpoint and the same tensors in other layouts.

    Mimi has Kyutai's and Hugging Face's, DAC has Descript's and transformers'.
    """
    yield checkpoint
    if dac_config.describes(checkpoint.config):
        yield _other_dac(checkpoint)
        return
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


def _other_dac(checkpoint: Checkpoint) -> Checkpoint:
    rates = len(dac_config.parse(checkpoint.config).network.encoder_rates)
    folded = weight_norm.fold(checkpoint.tensors)
    convert = dac_names.to_transformers if dac_names.is_original(folded) else dac_names.to_original
    return replace(checkpoint, tensors=convert(folded, rates))
