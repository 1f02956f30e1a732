"""Other people's implementations, run beside ours with the same weights."""

from typing import Protocol

from torch import Tensor

from peers.nemo import NemoCodec
from tritone_build.checkpoints import Checkpoint

__all__ = ["Reference", "reference_of"]


class Reference(Protocol):
    """A codec's own authors' implementation."""

    def encode(self, audio: Tensor) -> Tensor:
        """Audio FP32 [B, S] -> tokens [B, K, T]."""
        ...

    def decode(self, tokens: Tensor) -> Tensor:
        """Tokens [B, K, T] -> audio FP32 [B, T * hop]."""
        ...

    def network(self, latent: Tensor) -> Tensor:
        """Decoder network alone: latent FP32 [B, D, T] -> audio FP32 [B, T * hop]."""
        ...

    def rounding_margin(self, audio: Tensor) -> Tensor:
        """Distance to the nearest rounding edge that decides each token; FP32 [B, K, T]."""
        ...


def reference_of(checkpoint: Checkpoint) -> Reference:
    """The authors' network with these weights."""
    return NemoCodec(checkpoint.config, checkpoint.tensors)
