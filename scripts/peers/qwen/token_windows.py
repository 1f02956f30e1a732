"""Streams without state: each step decodes the newest frame again with some frames before it.

vllm-omni 0.30.0 does so with 72 frames of context by default, and faster-qwen3-tts with 25.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

from scripts.peers.qwen.decoding_only import DecodingOnly

__all__ = ["WindowStream", "newest_of_windows", "streaming"]

Decode = Callable[[Tensor], Tensor]
"""Tokens [B, K, T] -> audio [B, 1, T * hop]."""
_BATCH = 8


@contextmanager
def streaming(decode: Decode, context: int, batch: int = 1) -> Iterator["WindowStream"]:
    """Open new streams; the first step determines how many."""
    del batch
    with torch.inference_mode():
        yield WindowStream(decode, context)


class WindowStream(DecodingOnly):
    """Streams that advance together and keep their last ``context`` frames of tokens."""

    def __init__(self, decode: Decode, context: int):
        self._decode, self._context, self._past = decode, context, torch.empty(0)

    def decode_step(self, tokens: Tensor) -> Tensor:
        """Tokens [B, K, T] -> audio [B, 1, T * hop]."""
        window = torch.cat((self._past, tokens), dim=2) if self._past.numel() else tokens
        self._past = window[:, :, max(0, window.shape[2] - self._context) :]
        audio = self._decode(window)
        hop = audio.shape[2] // window.shape[2]
        return audio[:, :, -tokens.shape[2] * hop :]


@torch.inference_mode()
def newest_of_windows(decode: Decode, context: int, tokens: Tensor, frames: Sequence[int]) -> Tensor:
    """What a :class:`WindowStream` with one frame per step gives at some frames only, [F, hop].

    Args:
        decode: of the whole network, which must be causal.
        context: frames before the newest one.
        tokens: of one stream, [1, K, T].
        frames: numbers of the frames, none of which is needed for another one.
    """
    made: dict[int, Tensor] = {}
    by_length: dict[int, list[int]] = {}
    for frame in frames:
        by_length.setdefault(min(frame, context), []).append(frame)
    for before, alike in by_length.items():
        for first in range(0, len(alike), _BATCH):
            part = alike[first : first + _BATCH]
            windows = torch.cat([tokens[:, :, frame - before : frame + 1] for frame in part])
            audio = decode(windows)
            newest = audio[:, 0, -(audio.shape[2] // (before + 1)) :]
            made |= dict(zip(part, newest, strict=True))
    return torch.stack([made[frame] for frame in frames])
