"""How much audio a request may hold, so that attention over a whole signal fits into memory.

Scores of attention grow with the square of the signal's length.
"""

from math import inf, sqrt
from typing import Any

import torch
from torch import nn

from tritone_build.codecs.base import Codec
from tritone_build.layers.transformer import Transformer
from tritone_build.state import whole

__all__ = ["longest_call_s"]

_SCORE_BYTES = 2 << 30
"""Most memory for the scores of one layer; a request takes two to three times as much at its peak."""


def longest_call_s(codec: Codec, encodes: bool) -> float:
    """Most seconds of audio in one request to the encoder or the decoder; infinite without attention."""
    network, g = codec.encoder if encodes else codec.decoder, codec.geometry
    if not any(isinstance(module, Transformer) for module in network.modules()):
        return inf
    shape = (g.num_channels, g.encode_samples_per_frame) if encodes else (g.latent_dim, 1)
    scores = _scores_of_a_frame(network, shape, codec.dtype)
    return sqrt(_SCORE_BYTES / (4 * scores)) / g.frame_rate_hz


def _scores_of_a_frame(network: nn.Module, shape: tuple[int, ...], dtype: torch.dtype) -> int:
    """Scores of the transformer that has most of them."""
    scores: list[int] = []

    def note(module: Any, inputs: tuple[Any, ...]) -> None:
        scores.append(module.config.num_heads * inputs[0].shape[1] ** 2)

    found = [module for module in network.modules() if isinstance(module, Transformer)]
    hooks = [module.register_forward_pre_hook(note) for module in found]
    device = next(network.parameters()).device
    try:
        with torch.no_grad(), torch.device(device):
            whole(network, torch.zeros(1, *shape, dtype=dtype))
    finally:
        for hook in hooks:
            hook.remove()
    return max(scores)
