"""Losses for neural codecs: multi-scale log mel spectra, complex spectra below 1 kHz, and band envelopes.

The mel loss follows DAC and NanoCodec (Kumar et al. 2023, arXiv 2306.06546; Casanova et
al. 2025, arXiv 2508.05835).
"""

from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

__all__ = ["MEL", "envelope_loss", "mel_distance", "mel_loss", "wave_loss"]

_FLOOR = 3e-4
"""-70 dB; the training speech is at -22 dB."""


@dataclass(frozen=True)
class Resolution:
    """A spectrogram's window in samples (the hop is a quarter of it) and number of mel bands, if any."""

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
_WAVE_TOP_HZ, _MIN_NORM = 1000, 0.05
_ENVELOPE = Resolution(512)
_THIRD_OCTAVES = tuple(150 * 2 ** (band / 3) for band in range(15))
_SEGMENT_FRAMES, _FAINT = 64, 0.01
"""Length of an envelope segment, 0.37 s or about a syllable; level below which a band hardly counts."""


def _spectrum(audio: Tensor, window: int) -> Tensor:
    """Complex spectrogram of audio [B, S]: [B, window / 2 + 1, N, 2]."""
    weights = _window(window).to(audio.device)
    return torch.view_as_real(torch.stft(audio, window, window // 4, window=weights, return_complex=True))


@cache
def _window(size: int) -> Tensor:
    return torch.hann_window(size)


@cache
def _filters(window: int, bands: int, rate_hz: int) -> Tensor:
    """Triangular filters, evenly spaced on the mel scale 2595 log10(1 + f / 700): [bands, window / 2 + 1]."""
    top = 2595 * torch.log10(torch.tensor(1 + rate_hz / 2 / 700))
    edges = 700 * (10 ** (torch.linspace(0, float(top), bands + 2) / 2595) - 1)
    bins = torch.linspace(0, rate_hz / 2, window // 2 + 1)
    # A band narrower than a bin would be empty, so every band is at least two bins wide.
    widths = edges.diff().clamp(min=rate_hz / window)
    rising = 1 - (edges[1:-1, None] - bins) / widths[:-1, None]
    falling = 1 - (bins - edges[1:-1, None]) / widths[1:, None]
    triangles = torch.minimum(rising, falling).clamp(min=0)
    return triangles / triangles.sum(1, keepdim=True)


def _mel(audio: Tensor, resolution: Resolution, rate_hz: int) -> Tensor:
    """Mel amplitudes [B, bands, N] of audio [B, S]; a full-scale sine is at about 1."""
    filters = _filters(resolution.window, resolution.bands, rate_hz).to(audio.device)
    magnitude = (_spectrum(audio, resolution.window).square().sum(3) + 1e-9).sqrt()
    return filters @ magnitude / (resolution.window / 2)


def mel_loss(ours: Tensor, theirs: Tensor, rate_hz: int) -> Tensor:
    """Mean over resolutions of the mean |log10 difference| of mel bands; both signals are [B, S].

    A floor makes inaudible differences count for nothing: half of the bands of synthetic speech are below it.
    """
    logs = [[(_mel(audio, r, rate_hz) + _FLOOR).log10() for audio in (ours, theirs)] for r in MEL]
    return torch.stack([(mine - true).abs().mean() for mine, true in logs]).mean()


def wave_loss(ours: Tensor, theirs: Tensor, rate_hz: int) -> Tensor:
    """Mean over rows of the relative difference of complex spectra below 1 kHz; both signals are [B, S].

    Phase counts here, as in EnCodec's loss over samples (Défossez et al. 2022, arXiv 2210.13438). Without
    this loss a network of this size learns the spectral envelope and hums at a constant pitch.
    """
    top = int(_WAVE_TOP_HZ * _WAVE.window / rate_hz) + 1
    mine, true = (_spectrum(audio, _WAVE.window)[:, :top].flatten(1) for audio in (ours, theirs))
    relative: Tensor = (mine - true).norm(dim=1) / true.norm(dim=1).clamp(min=_MIN_NORM)
    return relative.mean()


@cache
def _third_octaves(window: int, rate_hz: int) -> Tensor:
    """Which bins belong to which third-octave band, as 0 or 1: [15, window / 2 + 1]."""
    bins = torch.linspace(0, rate_hz / 2, window // 2 + 1)
    edges = [(centre * 2 ** (-1 / 6), centre * 2 ** (1 / 6)) for centre in _THIRD_OCTAVES]
    inside = [(bins >= low) & (bins < high) for low, high in edges]
    return torch.stack([band.float() for band in inside])


def _envelopes(audio: Tensor, rate_hz: int) -> Tensor:
    """Envelope segments of audio [B, S] without their means: [B, 15, segments, 64 or fewer]."""
    bands = _third_octaves(_ENVELOPE.window, rate_hz).to(audio.device)
    power = bands @ _spectrum(audio, _ENVELOPE.window).square().sum(3)
    segments = (power + 1e-6).sqrt().unfold(2, min(_SEGMENT_FRAMES, power.shape[2]), _SEGMENT_FRAMES // 4)
    return segments - segments.mean(3, keepdim=True)


def envelope_loss(ours: Tensor, theirs: Tensor, rate_hz: int) -> Tensor:
    """Weighted mean of 1 - correlation of third-octave envelopes over a syllable; both signals are [B, S].

    STOI (Taal et al. 2011), which predicts intelligibility, measures the same. A loss on log spectra weighs
    pauses as much as syllables.
    """
    mine, true = (_envelopes(audio, rate_hz) for audio in (ours, theirs))
    loud, floor = true.norm(dim=3), _FAINT * _ENVELOPE.window
    alike = (mine * true).sum(3) / (mine.norm(dim=3) * loud + 1e-3)
    weight = loud / (loud + floor)
    unlike: Tensor = (weight * (1 - alike)).sum() / weight.sum().clamp(min=1e-3)
    return unlike


def mel_distance(ours: Tensor, theirs: Tensor, rate_hz: int) -> float:
    """Mean distance in dB over 80 mel bands of 46 ms windows; both signals are [S].

    Bands below -70 dB of full scale count as -70 dB.
    """
    resolution = Resolution(1024, 80)
    mine, true = (
        _mel(audio[None], resolution, rate_hz).clamp(min=_FLOOR).log10() for audio in (ours, theirs)
    )
    return float(20 * (mine - true).abs().mean())
