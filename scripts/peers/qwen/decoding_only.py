"""Streams of implementations that encode whole utterances only."""

from torch import Tensor

__all__ = ["DecodingOnly"]


class DecodingOnly:
    """The encoding half of a :class:`scripts.peers.streaming.StepPeer` that has none."""

    def encode_step(self, audio: Tensor) -> Tensor:
        """There is no streaming encoder, so every call raises NotImplementedError."""
        raise NotImplementedError(
            f"{type(self).__name__} decodes streams only; encode with the whole network"
        )
