"""Kyutai's Mimi in Rust, rustymimi 0.4.1, streaming.

Its attention sees one step more than the published window, so it equals the other implementations for the
first 10 s only. Its ``reset`` does not clear the state of the encoder's downsampling, which would change the
first frame of the next stream. So there is no reset here: a new object is made for each run.
"""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from scripts.peers.wheel_imports import imported
from tritone_server.wheels import Wheel

__all__ = ["RustyMimi"]

_WHEEL = Wheel(  # the file for CPython 3.11 on x86-64 Linux
    "rustymimi==0.4.1", "28e148a079db2ebbf90a1a95b0a8afdbb3d2dc619f956a766d5fce2b90fb6128", ("rustymimi/",)
)


class RustyMimi:
    """New streams, in FP32, from a safetensors file in Kyutai's layout and the published geometry.

    The batch of the first step determines how many streams advance together.
    """

    def __init__(self, path: Path, num_codebooks: int = 8):
        package = imported(_WHEEL, "rustymimi")
        self._tokenizer: Any = package.Tokenizer(str(path), num_codebooks=num_codebooks)

    def encode_step(self, audio: Tensor) -> Tensor:
        """Audio FP32 [B, 1, 1920] -> tokens INT64 [B, K, 1]."""
        tokens = self._tokenizer.encode_step(audio.numpy())
        return torch.from_numpy(tokens.astype(np.int64))

    def decode_step(self, tokens: Tensor) -> Tensor:
        """Tokens [B, K, 1] -> audio FP32 [B, 1, 1920]."""
        return torch.from_numpy(self._tokenizer.decode_step(tokens.numpy().astype(np.uint32)))
