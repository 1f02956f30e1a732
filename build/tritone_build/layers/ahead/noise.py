"""SNAC's noise, as a function of the position in the signal."""

import torch
from torch import Tensor, nn

from tritone_build.layers.unfolded import product
from tritone_build.state import State

__all__ = ["Noise", "noise_table"]


def noise_table(period: int) -> Tensor:
    """Standard normal noise for the steps of a period, FP32 [period], the same at each call."""
    return torch.randn(period, generator=torch.Generator("cpu").manual_seed(period), device="cpu")


class Noise(nn.Module):
    """x + n * (W x), n being standard normal noise, the same for all channels; [B, C, T] -> [B, C, T].

    NoiseBlock in snac/layers.py of snac 1.2.1 draws n anew at each call. Here it is a fixed table over
    ``period`` steps, which repeats from the start of the signal. So equal tokens give equal audio, and a
    stream equals the whole. With a period of 0 there is no noise. ``weight`` is [C, C, 1].
    """

    def __init__(self, channels: int, period: int):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(channels, channels, 1))
        self.period = period
        self.register_buffer("table", noise_table(period), persistent=False)

    def forward(self, x: Tensor, state: State) -> Tensor:
        """See the class."""
        if not self.period:
            return x
        noise = self.get_buffer("table")[state.timeline.places(x.shape[2], self.period)].to(x.dtype)
        mixed = product(x.transpose(1, 2), self.weight[:, :, 0].T, None).transpose(1, 2)
        return x + noise[:, None] * mixed
