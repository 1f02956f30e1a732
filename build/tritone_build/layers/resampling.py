"""Resampling by a fixed filter."""

from math import ceil, gcd, pi

import torch
from torch import Tensor, nn
from torch.nn import functional

from tritone_build.layers.wide import widened

__all__ = ["SincResampler"]

_LOBES = 6
"""Zero crossings of the filter on each side."""
_ROLLOFF = 0.99


class SincResampler(nn.Module):
    """A windowed sinc filter: [B, S] at ``rate_in`` -> [B, ceil(S * rate_out / rate_in)] at ``rate_out``.

    A sinc of 6 zero crossings on each side under a Hann window, with 0.99 of the lower Nyquist frequency as
    its cutoff, as torchaudio.functional.resample has it by default (torchaudio 2.11.1). For the ratio 3 to 2
    it is a convolution of stride 3 that computes 2 samples in each step. It computes in FP32 at least.
    """

    def __init__(self, rate_in: int, rate_out: int):
        super().__init__()
        common = gcd(rate_in, rate_out)
        self.rate_in, self.rate_out = rate_in // common, rate_out // common
        self.width = ceil(_LOBES * self.rate_in / (min(self.rate_in, self.rate_out) * _ROLLOFF))
        # Numbers in place of a buffer, which would have no values in a network made on the meta device.
        self.taps: list[list[list[float]]] = self._kernel().tolist()

    def _kernel(self) -> Tensor:
        """The filter, [rate_out, 1, taps]."""
        lower = min(self.rate_in, self.rate_out) * _ROLLOFF
        taps = torch.arange(-self.width, self.width + self.rate_in, device="cpu").double() / self.rate_in
        phases = torch.arange(self.rate_out, device="cpu").double() / self.rate_out
        time = ((taps - phases[:, None]) * lower).clamp(-_LOBES, _LOBES)
        window = torch.cos(time * (pi / _LOBES / 2)).square()
        return (torch.sinc(time) * window * (lower / self.rate_in))[:, None]

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        length = (x.shape[1] * self.rate_out + self.rate_in - 1) // self.rate_in
        wide = functional.pad(widened(x)[:, None], (self.width, self.width + self.rate_in))
        y = functional.conv1d(wide, torch.tensor(self.taps, dtype=wide.dtype), stride=self.rate_in)
        return y.transpose(1, 2).flatten(1).narrow(1, 0, length).to(x.dtype)
