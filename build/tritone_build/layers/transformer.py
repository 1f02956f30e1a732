"""Causal transformers with a sliding window; their state is bounded and never loses precision.

Architecture: moshi/modules/transformer.py of Kyutai's moshi 0.2.13 (pre-norm, rotary embedding,
layer scale, exact GELU, no biases except in the norms'). With RMSNorm and SwiGLU it is the transformer of
Qwen3-TTS's 12 Hz tokenizer (qwen_tts/core/tokenizer_12hz/modeling_qwen3_tts_tokenizer_v2.py of qwen-tts
0.1.1, Qwen3TTSTokenizerV2DecoderTransformerLayer).
"""

from dataclasses import dataclass
from math import pi
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from tritone_build.errors import UnsupportedNetworkError
from tritone_build.layers.reach import Reach
from tritone_build.layers.wide import widened
from tritone_build.state import TURN, Segment, State, Window

__all__ = ["RMSNorm", "Transformer", "TransformerConfig", "normalized"]


@dataclass(frozen=True)
class TransformerConfig:
    """Sizes of a transformer; each step sees the last ``context`` steps, itself included.

    ``head_width`` is the size of a head if the heads together are not as wide as the model. ``gated`` says
    that the feed-forward part is SwiGLU (Shazeer 2020, arXiv 2002.05202) instead of GELU between two maps.

    Raises:
        UnsupportedNetworkError: a size is not an integer of at least 1, ``dim`` cannot be divided among the
            heads, or the size of a head is odd.
    """

    dim: int
    num_layers: int
    num_heads: int
    feedforward_dim: int
    context: int
    rope_theta: float = 10000.0
    norm_eps: float = 1e-5
    norm: Literal["layer", "rms"] = "layer"
    gated: bool = False
    head_width: int | None = None

    def __post_init__(self) -> None:
        for name in ("dim", "num_layers", "num_heads", "feedforward_dim", "context", "head_width"):
            _check_size(name, getattr(self, name), optional=name == "head_width")
        if self.head_width is None and self.dim % self.num_heads:
            raise UnsupportedNetworkError(
                f"a transformer's dim is {self.dim} and its num_heads {self.num_heads}; "
                "expected a dim that num_heads divides, or a head_width"
            )
        if self.head_dim % 2:
            raise UnsupportedNetworkError(
                f"the size of a transformer's head is {self.head_dim}; "
                "expected an even size, because the rotary embedding turns pairs"
            )

    @property
    def head_dim(self) -> int:
        """Size of a query, key or value of one head."""
        return self.head_width or self.dim // self.num_heads

    @property
    def attention_dim(self) -> int:
        """Size of the queries, keys or values of all heads."""
        return self.num_heads * self.head_dim


def _check_size(name: str, value: object, optional: bool) -> None:
    if optional and value is None:
        return
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise UnsupportedNetworkError(
            f"a transformer's {name} is {value!r}, expected an integer of at least 1"
        )


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
    """Multi-head attention; ``in_proj_weight`` [3 A, D] with the rotary pairs of a head interleaved.

    A is the size of all heads together.
    """

    def __init__(self, config: TransformerConfig):
        super().__init__()
        self.config = config
        self.in_proj_weight = nn.Parameter(torch.empty(3 * config.attention_dim, config.dim))
        self.out_weight = nn.Parameter(torch.empty(config.dim, config.attention_dim))

    def projection(self) -> Tensor:
        """Weight [D, 3 A]: first numbers of all rotary pairs before the second ones, queries scaled."""
        heads, dim, size = self.config.num_heads, self.config.dim, self.config.attention_dim
        queries, keys, values = (self.in_proj_weight[first : first + size] for first in (0, size, 2 * size))
        pairs = (each.reshape(heads, -1, 2, dim).transpose(1, 2) for each in (queries, keys))
        queries, keys = (each.reshape(size, dim) for each in pairs)
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


class RMSNorm(nn.Module):
    """x / sqrt(mean of x^2 + eps) * weight over the last axis (Zhang and Sennrich 2019, arXiv 1910.07467)."""

    def __init__(self, dim: int, eps: float):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(dim))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """Any shape; written as ONNX Runtime recognizes it."""
        return x / torch.sqrt(x.pow(2).mean(-1, keepdim=True) + self.eps) * self.weight


def normalized(norm: nn.Module, x: Tensor) -> Tensor:
    """Apply a norm to x in FP32 at least; the result has the dtype of x."""
    wide: Tensor = norm(widened(x))
    return wide.to(x.dtype)


def _norm(config: TransformerConfig) -> nn.Module:
    return (nn.LayerNorm if config.norm == "layer" else RMSNorm)(config.dim, config.norm_eps)


class TransformerLayer(nn.Module):
    """x + scale_1 * attention(norm_1 x), then x + scale_2 * feedforward(norm_2 x)."""

    def __init__(self, config: TransformerConfig):
        super().__init__()
        self.norm1, self.norm2 = _norm(config), _norm(config)
        self.attention = Attention(config)
        self.up_weight = nn.Parameter(torch.empty(config.feedforward_dim, config.dim))
        self.gate_weight = nn.Parameter(torch.empty_like(self.up_weight)) if config.gated else None
        self.down_weight = nn.Parameter(torch.empty(config.dim, config.feedforward_dim))
        self.scale1 = nn.Parameter(torch.empty(config.dim))
        self.scale2 = nn.Parameter(torch.empty(config.dim))

    def forward(self, x: Tensor, state: State, window: Window, rotary: tuple[Tensor, Tensor]) -> Tensor:
        """[B, T, D] -> [B, T, D]."""
        x = x + self.attention(normalized(self.norm1, x), state, window, rotary, self.scale1)
        hidden = self._hidden(normalized(self.norm2, x))
        return x + hidden @ (self.down_weight * self.scale2[:, None]).T.to(x.dtype)

    def _hidden(self, x: Tensor) -> Tensor:
        """[B, T, D] -> [B, T, feedforward_dim]."""
        if self.gate_weight is None:
            return functional.gelu(x @ self.up_weight.T.to(x.dtype))
        both = x @ torch.cat([self.gate_weight, self.up_weight]).T.to(x.dtype)
        gate, up = torch.split(both, [len(self.up_weight)] * 2, 2)
        return functional.silu(widened(gate)).to(x.dtype) * up


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
