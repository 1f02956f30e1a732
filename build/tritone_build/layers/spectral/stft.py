"""Log magnitudes of a short-time Fourier transform, as a convolution that any runtime has."""

from fractions import Fraction
from math import pi

import torch
from torch import Tensor, nn
from torch.nn import functional

from tritone_build.layers.reach import Reach
from tritone_build.layers.wide import widened

__all__ = ["LogSpectrum", "hann_window"]


def hann_window(length: int) -> Tensor:
    """A symmetric Hann window FP32 [length], as ``torch.hann_window(length, periodic=False)``."""
    return torch.hann_window(length, periodic=False, device="cpu")


class LogSpectrum(nn.Module):
    """log(|STFT| + 1) of audio: [B, 1, S] -> [B, n_fft / 2 + 1, S / hop], S a multiple of the hop.

    After NeMo's STFTProcessor, which repeats the first and the last sample (n_fft - hop) / 2 times. The
    samples of a hop are the channels of a convolution whose kernel spans n_fft / hop hops. Its weights are
    constants: the window times the cosines and sines of the transform. All of it is computed in FP32.

    Args:
        n_fft: samples of a transform, a multiple of the hop; n_fft - hop is even.
        hop: samples between two transforms.
        window_length: samples of the window, which lies in the middle of the transform; at most n_fft.
    """

    def __init__(self, n_fft: int, hop: int, window_length: int):
        super().__init__()
        self.n_fft, self.hop, self.window_length = n_fft, hop, window_length
        self.register_buffer("kernel", self._kernel(), persistent=False)

    @property
    def bins(self) -> int:
        """Frequencies of the spectrum."""
        return self.n_fft // 2 + 1

    @property
    def rate_change(self) -> Fraction:
        """Output steps per input step."""
        return Fraction(1, self.hop)

    @property
    def width(self) -> int:
        """Samples padded on either side."""
        return (self.n_fft - self.hop) // 2

    def reach(self, past: int, future: int) -> Reach:
        """See :class:`tritone_build.layers.reach.HasReach`."""
        return past * self.hop + self.width, future * self.hop + self.n_fft - 1 - self.width

    def _kernel(self) -> Tensor:
        """Real parts, then imaginary parts of all frequencies: FP32 [2 * bins, hop, n_fft / hop].

        On the CPU, also if the network is built without memory: no checkpoint holds it.
        """
        before = (self.n_fft - self.window_length) // 2
        after = self.n_fft - self.window_length - before
        window = functional.pad(hann_window(self.window_length), (before, after)).double()
        sample = torch.arange(self.n_fft, device="cpu")
        turns = sample[: self.bins, None] * sample % self.n_fft  # whole numbers, so that phases are exact
        phase = turns.double() * (2 * pi / self.n_fft)
        kernel = torch.cat([phase.cos(), -phase.sin()]) * window
        return kernel.reshape(2 * self.bins, -1, self.hop).transpose(1, 2).float().contiguous()

    def forward(self, audio: Tensor) -> Tensor:
        """[B, 1, S] -> [B, bins, S / hop], in the dtype of the audio."""
        padded = functional.pad(widened(audio), (self.width, self.width), mode="replicate")
        hops = padded.reshape(padded.shape[0], -1, self.hop).transpose(1, 2)
        real, imaginary = functional.conv1d(hops, self.get_buffer("kernel")).chunk(2, dim=1)
        magnitude = (real * real + imaginary * imaginary).sqrt()
        return (magnitude + 1).log().to(audio.dtype)
