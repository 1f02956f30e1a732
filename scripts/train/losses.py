"""Losses of neural codecs: log mel spectra at several resolutions, complex spectra of low tones, envelopes.

After the multi-scale mel loss of DAC and NanoCodec (Kumar et al. 2023, arXiv 2306.06546; Casanova et
al. 2025, arXiv 2508.05835).
"""

from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

__all__ = ["MEL", "envelope_loss", "mel_distance", "mel_loss", "wave_loss"]

_FLOOR = 3e-4
"""-70 dB: speech here is at -22."""


@dataclass(frozen=True)
class Resolution:
    """Of a spectrogram: window in samples, hop a quarter of it, and mel bands, if any."""

    window: int
    bands: int = 0


MEL = (
    Resolution(128, 10),
    Resolution(256, 20),
    Resolution(512, 40),
    Resolution(1024, 80),
    Resolution(2048, 160),
)
_WAVE = Resolution(512)
_WAVE_TOP_HZ, _SILENT = 1000, 0.05
_ENVELOPE = Resolution(512)
_THIRD_OCTAVES = tuple(150 * 2 ** (band / 3) for band in range(15))
_SYLLABLE, _FAINT = 64, 0.01
"""Windows that an envelope is followed over, 0.37 s; loudness in a band below which it hardly counts."""


def _complex(audio: Tensor, window: int) -> Tensor:
    """[B, S] -> [B, window / 2 + 1, N, 2]."""
    shape = _window(window).to(audio.device)
    return torch.view_as_real(torch.stft(audio, window, window // 4, window=shape, return_complex=True))


@cache
def _window(size: int) -> Tensor:
    return torch.hann_window(size)


@cache
def _filters(window: int, bands: int, rate_hz: int) -> Tensor:
    """Triangles, even on the mel scale 2595 log10(1 + f / 700): [bands, window / 2 + 1]."""
    top = 2595 * torch.log10(torch.tensor(1 + rate_hz / 2 / 700))
    edges = 700 * (10 ** (torch.linspace(0, float(top), bands + 2) / 2595) - 1)
    bins = torch.linspace(0, rate_hz / 2, window // 2 + 1)
    # A band narrower than a bin would be empty: none is narrower than two.
    widths = edges.diff().clamp(min=rate_hz / window)
    rising = 1 - (edges[1:-1, None] - bins) / widths[:-1, None]
    falling = 1 - (bins - edges[1:-1, None]) / widths[1:, None]
    triangles = torch.minimum(rising, falling).clamp(min=0)
    return triangles / triangles.sum(1, keepdim=True)


def _mel(audio: Tensor, resolution: Resolution, rate_hz: int) -> Tensor:
    """[B, S] -> amplitudes [B, bands, N]; a sine at full scale has about 1."""
    filters = _filters(resolution.window, resolution.bands, rate_hz).to(audio.device)
    magnitude = (_complex(audio, resolution.window).square().sum(3) + 1e-9).sqrt()
    return filters @ magnitude / (resolution.window / 2)


def mel_loss(ours: Tensor, theirs: Tensor, rate_hz: int) -> Tensor:
    """Mean over resolutions of the mean |log10 difference| of mel bands; [B, S] both.

    What nobody hears counts for nothing: half of the bands of synthetic speech are below the floor.
    """
    logs = [[(_mel(audio, r, rate_hz) + _FLOOR).log10() for audio in (ours, theirs)] for r in MEL]
    return torch.stack([(mine - true).abs().mean() for mine, true in logs]).mean()


def wave_loss(ours: Tensor, theirs: Tensor, rate_hz: int) -> Tensor:
    """Mean over rows of the difference of complex spectra below 1 kHz, relative to the sound; [B, S] both.

    Phase counts here, as in EnCodec's loss over samples (Défossez et al. 2022, arXiv 2210.13438). Without
    it a network of this size learns the spectrum's envelope and hums on one pitch.
    """
    top = int(_WAVE_TOP_HZ * _WAVE.window / rate_hz) + 1
    mine, true = (_complex(audio, _WAVE.window)[:, :top].flatten(1) for audio in (ours, theirs))
    relative: Tensor = (mine - true).norm(dim=1) / true.norm(dim=1).clamp(min=_SILENT)
    return relative.mean()


@cache
def _third_octaves(window: int, rate_hz: int) -> Tensor:
    """Which bins are in which band: [15, window / 2 + 1]."""
    bins = torch.linspace(0, rate_hz / 2, window // 2 + 1)
    edges = [(centre * 2 ** (-1 / 6), centre * 2 ** (1 / 6)) for centre in _THIRD_OCTAVES]
    inside = [(bins >= low) & (bins < high) for low, high in edges]
    return torch.stack([band.float() for band in inside])


def _envelopes(audio: Tensor, rate_hz: int) -> Tensor:
    """[B, S] -> [B, 15, segments, 64 or what there is], each without its mean."""
    bands = _third_octaves(_ENVELOPE.window, rate_hz).to(audio.device)
    power = bands @ _complex(audio, _ENVELOPE.window).square().sum(3)
    followed = (power + 1e-6).sqrt().unfold(2, min(_SYLLABLE, power.shape[2]), _SYLLABLE // 4)
    return followed - followed.mean(3, keepdim=True)


def envelope_loss(ours: Tensor, theirs: Tensor, rate_hz: int) -> Tensor:
    """1 - correlation of the envelopes of third octaves over a syllable, weighted mean; [B, S] both.

    What STOI measures (Taal et al. 2011), which follows how speech is understood: a log spectrum's loss
    cares for pauses as much as for syllables.
    """
    mine, true = (_envelopes(audio, rate_hz) for audio in (ours, theirs))
    loud, floor = true.norm(dim=3), _FAINT * _ENVELOPE.window
    alike = (mine * true).sum(3) / (mine.norm(dim=3) * loud + 1e-3)
    weight = loud / (loud + floor)
    unlike: Tensor = (weight * (1 - alike)).sum() / weight.sum().clamp(min=1e-3)
    return unlike


def mel_distance(ours: Tensor, theirs: Tensor, rate_hz: int) -> float:
    """dB, mean over 80 mel bands of 46 ms windows, none below -70 dB of full scale; [S] both."""
    resolution = Resolution(1024, 80)
    mine, true = (
        _mel(audio[None], resolution, rate_hz).clamp(min=_FLOOR).log10() for audio in (ours, theirs)
    )
    return float(20 * (mine - true).abs().mean())
