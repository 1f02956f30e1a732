"""Seeded weights for a Qwen3-TTS tokenizer, by the names and shapes of the authors' class."""

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from scripts.peers.qwen_tts import tensor_shapes

__all__ = ["SMALL_CONFIG", "drawn"]

SMALL_CONFIG: dict[str, Any] = {
    "decoder_config": {
        "codebook_dim": 32,
        "codebook_size": 64,
        "decoder_dim": 64,
        "head_dim": 16,
        "hidden_size": 32,
        "intermediate_size": 64,
        "latent_dim": 48,
        "num_attention_heads": 2,
        "num_hidden_layers": 2,
        "num_key_value_heads": 2,
        "sliding_window": 10,
    },
    "encoder_config": {
        "codebook_dim": 16,
        "codebook_size": 64,
        "head_dim": 16,
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_attention_heads": 2,
        "num_filters": 4,
        "num_hidden_layers": 2,
        "num_key_value_heads": 2,
        "num_quantizers": 32,
        "sliding_window": 20,
        "upsample_groups": 32,
        "vector_quantization_hidden_dimension": 16,
    },
}

_SPREADS = {  # mean and standard deviation, by the last part of the name
    "scale": (0.1, 0.02),
    "gamma": (0.1, 0.02),
    "alpha": (0, 0.1),
    "beta": (0, 0.1),
    "bias": (0, 0.1),
    "embed_sum": (0, 1),
    "embedding_sum": (0, 1),
}

_LAST = "decoder.decoder.6.conv.weight"
"""The last convolution, which must not make the audio so loud that it is cut off."""


def drawn(config: Mapping[str, Any], seed: int = 0) -> dict[str, Tensor]:
    """Tensors for a network of this configuration, all of which have an effect on its output."""
    generator = torch.Generator().manual_seed(seed)
    return {
        name: _tensor(name, torch.randn(shape, generator=generator))
        for name, shape in tensor_shapes(config).items()
    }


def _tensor(name: str, noise: Tensor) -> Tensor:
    part = name.rsplit(".", 1)[1]
    if part == "initialized":
        return torch.ones_like(noise)
    if part == "cluster_usage":
        return 1 + noise.abs()
    if part in _SPREADS:
        mean, deviation = _SPREADS[part]
        return mean + deviation * noise
    if noise.ndim == 1:  # a norm
        return 1 + 0.1 * noise
    gain = 0.1 if name == _LAST else 1
    return gain * noise / math.sqrt(noise[0].numel())
