"""Buckets: frames are padded to one of a few lengths, so that requests of different length share a batch.

Triton batches only requests of equal shape. The output of a vocoder that runs step by step does not depend
on what follows a row's end, so the dequantizer may append frames there. The lengths stay exact, and the
client cuts off the rest.
"""

import math
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from tritone_build.guard import require

__all__ = ["BUCKETS", "BucketedDequantizer", "bucket_of", "most_frames", "wasted_share"]

_MOST_FRAMES = 384
_PER_OCTAVE = 4


def _buckets() -> tuple[int, ...]:
    """1 to 8, then four per doubling: 10, 12, 14, 16, 20, ..."""
    counts, octave = list(range(1, 2 * _PER_OCTAVE + 1)), 2 * _PER_OCTAVE
    while octave < _MOST_FRAMES:
        counts += [octave + octave // _PER_OCTAVE * n for n in range(1, _PER_OCTAVE + 1)]
        octave *= 2
    return tuple(count for count in counts if count <= _MOST_FRAMES)


BUCKETS = _buckets()
"""The numbers of frames that the vocoder sees."""


def bucket_of(frames: int) -> int:
    """Return the smallest bucket that holds this number of frames."""
    return next(bucket for bucket in BUCKETS if bucket >= frames)


def most_frames(frame_rate_hz: float, lookaround_frames: int, causal: bool, piece_s: float = 16.0) -> int:
    """Return the most frames in a request, a bucket: the client's longest chunk with its context.

    If the network looks back further than a chunk is long, the client streams long inputs instead.
    """
    piece = math.ceil(piece_s * frame_rate_hz)
    context = lookaround_frames if causal else 2 * lookaround_frames
    return bucket_of(min(piece + (context if lookaround_frames <= piece else 0), _MOST_FRAMES))


def wasted_share() -> float:
    """Return the largest share of padding: that of the shortest request of some bucket."""
    return max(1 - (below + 1) / bucket for below, bucket in pairwise(BUCKETS))


class BucketedDequantizer(nn.Module):
    """A dequantizer that pads its latent to a bucket, at most ``most`` frames; lengths stay exact."""

    def __init__(self, dequantizer: nn.Module, most: int):
        super().__init__()
        self.dequantizer, self.most = dequantizer, most
        self.register_buffer("buckets", torch.tensor([bucket for bucket in BUCKETS if bucket <= most]))

    def forward(self, tokens: Tensor, tokens_len: Tensor) -> tuple[Tensor, Tensor]:
        """Tokens INT64 [B, K, T], lengths INT64 [B, 1] -> latent FP32 [B, D, bucket], lengths."""
        frames, buckets = tokens.shape[2], self.get_buffer("buckets")
        fits = torch.full_like(tokens_len, frames) <= self.most
        tokens_len = require(tokens_len, fits, f"tokens must have at most {self.most} frames in a request")
        latent, tokens_len = self.dequantizer(tokens, tokens_len)
        number = (buckets < frames).sum().clamp(max=len(buckets) - 1)
        missing: Any = (buckets[number] - frames).clamp(min=0).item()
        torch._check(missing >= 0)  # type: ignore[no-untyped-call]
        return functional.pad(latent, (0, missing)), tokens_len
