"""Causal transformers with a sliding window; their state is bounded and never loses precision.

Architecture: moshi/modules/transformer.py of Kyutai's moshi 0.2.13 (pre-norm, rotary embedding,
layer scale, exact GELU, no biases except in the norms').
"""

from dataclasses import dataclass
from math import pi

import torch
from torch import Tensor, nn
from torch.nn import functional

from tritone_build.layers.reach import Reach
from tritone_build.layers.wide import widened
from tritone_build.state import TURN, Segment, State, Window

__all__ = ["Transformer", "TransformerConfig"]


@dataclass(frozen=True)
class TransformerConfig:
    """Sizes of a transformer; each step sees the last ``context`` steps, itself included."""

    dim: int
    num_layers: int
    num_heads: int
    feedforward_dim: int
    context: int
    rope_theta: float = 10000.0
    norm_eps: float = 1e-5

    @property
    def head_dim(self) -> int:
        """Size of a query, key or value of one head."""
        return self.dim // self.num_heads


def rotation(before: Tensor, steps: int, config: TransformerConfig) -> tuple[Tensor, Tensor]:
    """Cosine and sine [B, T, 1, D / 2] of the rotary embedding (Su et al. 2021, arXiv 2104.09864).

    The phase p * f is an integer in units of 2**-32 of a turn, so it is exact at any position p. Rounding
    f once is harmless, because attention depends only on differences of phases.
    """
    half = config.head_dim // 2
    exponents = torch.arange(half, dtype=torch.float64) / half
    turns = TURN * config.rope_theta**-exponents / (2 * pi)
    position = (before + torch.arange(steps))[:, :, None, None]
    phase = torch.remainder(position * turns.round().to(torch.int64), TURN)
    angle = phase.to(torch.float32) * (2 * pi / TURN)
    return angle.cos(), angle.sin()


class Attention(nn.Module):
    """Multi-head attention; ``in_proj_weight`` [3 D, D] with the rotary pairs of a head interleaved."""

    def __init__(self, config: TransformerConfig):
        super().__init__()
        self.config = config
        self.in_proj_weight = nn.Parameter(torch.empty(3 * config.dim, config.dim))
        self.out_weight = nn.Parameter(torch.empty(config.dim, config.dim))

    def projection(self) -> Tensor:
        """Weight [D, 3 D]: first numbers of all rotary pairs before the second ones, queries scaled."""
        heads, dim = self.config.num_heads, self.config.dim
        queries, keys, values = (self.in_proj_weight[first : first + dim] for first in (0, dim, 2 * dim))
        pairs = (each.reshape(heads, -1, 2, dim).transpose(1, 2) for each in (queries, keys))
        queries, keys = (each.reshape(dim, dim) for each in pairs)
        return torch.cat([queries * self.config.head_dim**-0.5, keys, values]).T

    def forward(
        self, x: Tensor, state: State, window: Window, rotary: tuple[Tensor, Tensor], scale: Tensor
    ) -> Tensor:
        """[B, T, D] -> [B, T, D], multiplied by the layer scale [D]."""
        config, (cos, sin) = self.config, rotary
        heads = (x @ self.projection().to(x.dtype)).reshape(
            *x.shape[:2], 3 * config.num_heads, config.head_dim
        )
        to_rotate, values = torch.split(heads, [2 * config.num_heads, config.num_heads], 2)
        first, second = torch.split(to_rotate, [config.head_dim // 2] * 2, 3)
        to_rotate = torch.cat([first * cos - second * sin, second * cos + first * sin], 3).to(x.dtype)
        queries, keys = torch.split(to_rotate, [config.num_heads] * 2, 2)
        segments = state.look_back(self, keys.permute(0, 2, 3, 1), values.transpose(1, 2), window)
        queries = queries.transpose(1, 2)
        scores = torch.cat([queries @ segment.keys + segment.bias for segment in segments], 3)
        seen = _weighted(widened(scores).softmax(3).to(x.dtype), segments)
        return seen.transpose(1, 2).flatten(2) @ (self.out_weight * scale[:, None]).T.to(x.dtype)


def _weighted(weights: Tensor, segments: list[Segment]) -> Tensor:
    """Sum the values of all segments by attention weights [B, H, T, N]: [B, H, T, D]."""
    first, *others = segments
    past = first.keys.shape[3]
    seen = weights.narrow(3, 0, past) @ first.values
    for segment in others:
        seen = seen + weights.narrow(3, past, segment.keys.shape[3]) @ segment.values
    return seen


def _normalized(norm: nn.Module, x: Tensor) -> Tensor:
    normalized: Tensor = norm(widened(x))
    return normalized.to(x.dtype)


class TransformerLayer(nn.Module):
    """x + scale_1 * attention(norm_1 x), then x + scale_2 * feedforward(norm_2 x)."""

    def __init__(self, config: TransformerConfig):
        super().__init__()
        self.norm1 = nn.LayerNorm(config.dim, config.norm_eps)
        self.norm2 = nn.LayerNorm(config.dim, config.norm_eps)
        self.attention = Attention(config)
        self.up_weight = nn.Parameter(torch.empty(config.feedforward_dim, config.dim))
        self.down_weight = nn.Parameter(torch.empty(config.dim, config.feedforward_dim))
        self.scale1 = nn.Parameter(torch.empty(config.dim))
        self.scale2 = nn.Parameter(torch.empty(config.dim))

    def forward(self, x: Tensor, state: State, window: Window, rotary: tuple[Tensor, Tensor]) -> Tensor:
        """[B, T, D] -> [B, T, D]."""
        x = x + self.attention(_normalized(self.norm1, x), state, window, rotary, self.scale1)
        hidden = functional.gelu(_normalized(self.norm2, x) @ self.up_weight.T.to(x.dtype))
        return x + hidden @ (self.down_weight * self.scale2[:, None]).T.to(x.dtype)


class Transformer(nn.Module):
    """Transformer layers over [B, T, D], which share one step count."""

    def __init__(self, config: TransformerConfig):
        super().__init__()
        self.config = config
        self.layers = nn.ModuleList(TransformerLayer(config) for _ in range(config.num_layers))

    def reach(self, past: int, future: int) -> Reach:
        """See :class:`tritone_build.layers.reach.HasReach`; every layer adds a window."""
        return past + self.config.num_layers * (self.config.context - 1), future

    def forward(self, x: Tensor, state: State) -> Tensor:
        """[B, T, D] -> [B, T, D]."""
        steps = x.shape[1]
        window = state.window(self, steps, self.config.context, x)
        rotary = rotation(window.count.within_turn(), steps, self.config)
        for layer in self.layers:
            x = layer(x, state, window, rotary)
        return x
