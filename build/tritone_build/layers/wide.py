"""Computing in FP32 where FP16 is not enough.

Networks compute in the dtype of their input, FP32 or FP16. In FP16, layers still use FP32 for sine and
exponential (phases and small differences), norms and softmax (sums of many numbers), rotary phases, and
convolutions that cost next to nothing and that every sample passes.
"""

import torch
from torch import Tensor

__all__ = ["widened"]


def widened(x: Tensor) -> Tensor:
    """Convert FP16 to FP32, other dtypes stay; the caller casts its result back to ``x.dtype``."""
    return x.float() if x.dtype == torch.float16 else x
