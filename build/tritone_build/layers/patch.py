"""Patches over [B, T, C]: neighbouring steps become channels, and back.

Source: modeling_moss_audio_tokenizer.py of OpenMOSS/MOSS-Audio-Tokenizer
(MossAudioTokenizerPatchedPretransform); the steps of one channel are adjacent.
"""

from fractions import Fraction

from torch import Tensor, nn

from tritone_build.layers.reach import Reach
from tritone_build.state import State

__all__ = ["Patch", "Unpatch"]


class Patch(nn.Module):
    """[B, T * size, C] -> [B, T, C * size]."""

    def __init__(self, size: int):
        super().__init__()
        self.size = size

    @property
    def rate_change(self) -> Fraction:
        """Output steps per input step."""
        return Fraction(1, self.size)

    def reach(self, past: int, future: int) -> Reach:
        """See :class:`tritone_build.layers.reach.HasReach`."""
        return past * self.size, future * self.size + self.size - 1

    def forward(self, x: Tensor, state: State) -> Tensor:
        """See the class."""
        batch, _, channels = x.shape
        return x.reshape(batch, -1, self.size, channels).transpose(2, 3).flatten(2)


class Unpatch(nn.Module):
    """[B, T, C * size] -> [B, T * size, C]."""

    def __init__(self, size: int):
        super().__init__()
        self.size = size

    @property
    def rate_change(self) -> Fraction:
        """Output steps per input step."""
        return Fraction(self.size)

    def reach(self, past: int, future: int) -> Reach:
        """See :class:`tritone_build.layers.reach.HasReach`; the maximum over the phases."""
        return -(-past // self.size), (self.size - 1 + future) // self.size

    def forward(self, x: Tensor, state: State) -> Tensor:
        """See the class."""
        batch, steps, channels = x.shape
        return x.reshape(batch, steps, channels // self.size, self.size).transpose(2, 3).flatten(1, 2)
