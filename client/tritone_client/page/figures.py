"""A figure of the input audio, its tokens and the decoded audio, on one time axis."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from tritone_client.info import CodecInfo

__all__ = ["figure_of"]

_FFT, _HOP, _FLOOR_DB, _TOP_HZ = 1024, 256, -80.0, 8000
_COLUMNS = 2000


def figure_of(
    info: CodecInfo, audio: NDArray[np.float32], tokens: NDArray[np.int64], decoded: NDArray[np.float32]
) -> Figure:
    """Waveforms, spectrograms and the map of tokens [K, T]; of audio [C, S] the mean of the channels."""
    audio, decoded = (each.mean(0) if each.ndim > 1 else each for each in (audio, decoded))
    figure = Figure(figsize=(9, 9), layout="constrained")
    axes = figure.subplots(5, 1, sharex=True, height_ratios=(1, 3, 2, 1, 3))
    _waveform(axes[0], audio, info.encode_sample_rate_hz, "in")
    _spectrogram(axes[1], audio, info.encode_sample_rate_hz)
    _tokens(axes[2], info, tokens)
    _waveform(axes[3], decoded, info.sample_rate_hz, "out")
    _spectrogram(axes[4], decoded, info.sample_rate_hz)
    axes[4].set_xlabel("seconds")
    figure.suptitle(f"{info.name}: {info.frame_rate_hz:.2f} frames per second")
    return figure


def _tokens(axes: Axes, info: CodecInfo, tokens: NDArray[np.int64]) -> None:
    books, frames = tokens.shape
    axes.imshow(
        tokens / (info.codebook_size - 1),
        aspect="auto",
        interpolation="nearest",
        extent=(0, frames / info.frame_rate_hz, books, 0),
        cmap="viridis",
        vmin=0,
        vmax=1,
    )
    title = (
        f"tokens: {books} x {frames} of 0 (dark) to {info.codebook_size - 1}, {info.bitrate_bps:.0f} bit/s"
    )
    axes.set(ylabel="codebook", title=title)


def _waveform(axes: Axes, audio: NDArray[np.float32], rate_hz: int, title: str) -> None:
    """Draw the highest and the lowest sample of each column, as audio players do."""
    width = max(1, len(audio) // _COLUMNS)
    columns = audio[: len(audio) // width * width].reshape(-1, width)
    seconds = np.arange(len(columns)) * width / rate_hz
    axes.fill_between(seconds, columns.min(1), columns.max(1), linewidth=0.5)
    axes.set(ylim=(-1, 1), title=f"{title}: {len(audio)} samples")


def _spectrogram(axes: Axes, audio: NDArray[np.float32], rate_hz: int) -> None:
    hop = max(_HOP, len(audio) // _COLUMNS)
    frames = np.lib.stride_tricks.sliding_window_view(np.pad(audio, _FFT // 2), _FFT)[::hop]
    power = np.abs(np.fft.rfft(frames * np.hanning(_FFT), axis=1)).T ** 2
    level_db = 10 * np.log10(power / max(power.max(), 1e-12) + 1e-12)
    extent = (0, len(audio) / rate_hz, 0, rate_hz / 2 / 1000)
    axes.imshow(level_db, aspect="auto", origin="lower", extent=extent, vmin=_FLOOR_DB, vmax=0, cmap="magma")
    axes.set(ylabel="kHz", ylim=(0, min(_TOP_HZ, rate_hz / 2) / 1000))
