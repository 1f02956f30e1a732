"""Attention within blocks of the signal, as in the 32 and 44 kHz models of SNAC."""

import torch
from torch import Tensor, nn

from tritone_build.layers.reach import Reach
from tritone_build.layers.wide import widened
from tritone_build.state import State

__all__ = ["LocalAttention", "inverse_frequencies"]

_HEAD_DIM = 64
_ROTARY_BASE = 10_000.0


def inverse_frequencies() -> Tensor:
    """Radians per step by which the pairs of a head are rotated, FP32 [32]."""
    return 1.0 / (_ROTARY_BASE ** (torch.arange(0, _HEAD_DIM, 2).float() / _HEAD_DIM))


class LocalAttention(nn.Module):
    """x + attention(norm(x)), where each step sees the ``window`` steps of its block; [B, C, T] -> [B, C, T].

    T is a multiple of the window. A stream answers as late as its blocks become complete. After LocalMHA in
    snac/attention.py of snac 1.2.1; rotary phases count from the start of a block.
    """

    def __init__(self, channels: int, window: int):
        super().__init__()
        self.window, self.heads = window, channels // _HEAD_DIM
        self.norm = nn.LayerNorm(channels)
        self.to_qkv = nn.Linear(channels, 3 * channels, bias=False)
        self.to_out = nn.Linear(channels, channels, bias=False)

    def reach(self, past: int, future: int) -> Reach:
        """See :class:`tritone_build.layers.reach.HasReach`; for steps at either end of their block."""
        return past + self.window - 1, future + self.window - 1

    def forward(self, x: Tensor, state: State) -> Tensor:
        """[B, C, T] -> [B, C, T]."""
        x = state.timeline.aligned(self, x, self.window)
        blocks = x.transpose(1, 2).reshape(-1, self.window, x.shape[1])
        normed = self.norm(widened(blocks)).to(x.dtype)
        qkv = normed @ self.to_qkv.weight.T.to(x.dtype)
        split = qkv.reshape(-1, self.window, 3, self.heads, _HEAD_DIM)
        queries, keys, values = split.permute(2, 0, 3, 1, 4).unbind(0)
        queries, keys = self._rotated(queries), self._rotated(keys)
        scores = widened(queries @ keys.transpose(2, 3)) * _HEAD_DIM**-0.5
        seen = scores.softmax(-1).to(x.dtype) @ values
        blocks = blocks + seen.transpose(1, 2).flatten(2) @ self.to_out.weight.T.to(x.dtype)
        y: Tensor = blocks.reshape(x.shape[0], -1, x.shape[1]).transpose(1, 2)
        return y

    def _rotated(self, x: Tensor) -> Tensor:
        """Rotate pairs (n, n + D / 2) of [..., window, D] by the step in the block."""
        half = x.shape[-1] // 2
        phase = torch.arange(self.window)[:, None] * inverse_frequencies()
        cosine, sine = phase.cos(), phase.sin()
        first, second = widened(x[..., :half]), widened(x[..., half:])
        return torch.cat([first * cosine - second * sine, second * cosine + first * sine], -1).to(x.dtype)
