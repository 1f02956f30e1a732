"""Where half precision does not do.

Networks compute in the dtype of their input, FP32 or FP16. What FP16 cannot hold is computed wider by
the layer that knows: sine and exponential (phases and small differences), norms and softmax (sums of
many), rotary phases, and convolutions that every sample passes and that cost next to nothing.
"""

import torch
from torch import Tensor

__all__ = ["widened"]


def widened(x: Tensor) -> Tensor:
    """FP32 where x is FP16, else as it is; cast what comes out back to ``x.dtype``."""
    return x.float() if x.dtype == torch.float16 else x
