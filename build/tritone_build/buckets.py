"""Lengths of a kind: frames are filled up to one of a few counts, so that different requests share a batch.

Triton batches only requests of equal shape. A causal vocoder does not hear what follows a row's end, so the
dequantizer may add frames there; the lengths stay as they were, and the client cuts what is more.
"""

from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from tritone_build.layers.guard import require

__all__ = ["BUCKETS", "MAX_FRAMES", "BucketedDequantizer", "bucket_of", "wasted_share"]

MAX_FRAMES = 384
"""In one request: 17.8 s at the fastest frame rate; the client's longest piece and its context fit."""
_PER_OCTAVE = 4


def _buckets() -> tuple[int, ...]:
    """1 to 8, then four per doubling: 10, 12, 14, 16, 20, ..."""
    counts, octave = list(range(1, 2 * _PER_OCTAVE + 1)), 2 * _PER_OCTAVE
    while octave < MAX_FRAMES:
        counts += [octave + octave // _PER_OCTAVE * n for n in range(1, _PER_OCTAVE + 1)]
        octave *= 2
    return tuple(count for count in counts if count <= MAX_FRAMES)


BUCKETS = _buckets()
"""Counts of frames that the vocoder sees."""


def bucket_of(frames: int) -> int:
    """The least bucket that holds so many frames, at most ``MAX_FRAMES``."""
    return next(bucket for bucket in BUCKETS if bucket >= frames)


def wasted_share() -> float:
    """The most that is computed for nothing: of the shortest request of any bucket."""
    return max(1 - (below + 1) / bucket for below, bucket in pairwise(BUCKETS))


class BucketedDequantizer(nn.Module):
    """A dequantizer whose latent has a bucket's number of frames; lengths as they came in."""

    def __init__(self, dequantizer: nn.Module):
        super().__init__()
        self.dequantizer = dequantizer
        self.register_buffer("buckets", torch.tensor(BUCKETS))

    def forward(self, tokens: Tensor, tokens_len: Tensor) -> tuple[Tensor, Tensor]:
        """Tokens INT64 [B, K, T], lengths INT64 [B, 1] -> latent FP32 [B, D, bucket], lengths."""
        frames, buckets = tokens.shape[2], self.get_buffer("buckets")
        fits = torch.full_like(tokens_len, frames) <= MAX_FRAMES
        tokens_len = require(tokens_len, fits, f"tokens must have at most {MAX_FRAMES} frames in a request")
        latent, tokens_len = self.dequantizer(tokens, tokens_len)
        number = (buckets < frames).sum().clamp(max=len(BUCKETS) - 1)
        missing: Any = (buckets[number] - frames).clamp(min=0).item()
        torch._check(missing >= 0)  # type: ignore[no-untyped-call]
        return functional.pad(latent, (0, missing)), tokens_len
