"""The demo's picture: spectrogram in, tokens, spectrogram out, on one time axis."""

from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from tritone_client import CodecInfo

__all__ = ["draw"]

_FFT, _HOP, _FLOOR_DB, _TOP_HZ = 1024, 256, -80.0, 8000


def draw(
    path: Path,
    info: CodecInfo,
    audio: NDArray[np.float32],
    tokens: NDArray[np.int64],
    decoded: NDArray[np.float32],
) -> None:
    """Write a PNG of audio [S], its tokens [K, T] and the audio [T * hop] decoded from them."""
    mpl.use("Agg")
    from matplotlib import pyplot

    seconds = tokens.shape[1] / info.frame_rate_hz
    figure, (top, middle, bottom) = pyplot.subplots(
        3, 1, figsize=(11, 8), sharex=True, height_ratios=(3, 2, 3), layout="constrained"
    )
    _spectrogram(top, audio, info.sample_rate_hz, "in")
    map_of_tokens = middle.imshow(
        tokens / (info.codebook_size - 1),
        aspect="auto",
        interpolation="nearest",
        extent=(0, seconds, info.num_codebooks, 0),
        cmap="viridis",
    )
    middle.set(
        ylabel="codebook",
        title=f"tokens: {tokens.shape[0]} x {tokens.shape[1]}, {info.bitrate_bps:.0f} bit/s",
    )
    figure.colorbar(map_of_tokens, ax=middle, label=f"token / {info.codebook_size - 1}")
    _spectrogram(bottom, decoded, info.sample_rate_hz, "out")
    bottom.set_xlabel("seconds")
    figure.suptitle(f"{info.name}: {info.frame_rate_hz:.2f} frames per second")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    pyplot.close(figure)


def _spectrogram(axes: Axes, audio: NDArray[np.float32], rate_hz: int, title: str) -> None:
    frames = np.lib.stride_tricks.sliding_window_view(np.pad(audio, _FFT // 2), _FFT)[::_HOP]
    power = np.abs(np.fft.rfft(frames * np.hanning(_FFT), axis=1)).T ** 2
    level_db = 10 * np.log10(power / max(power.max(), 1e-12) + 1e-12)
    extent = (0, len(audio) / rate_hz, 0, rate_hz / 2 / 1000)
    axes.imshow(level_db, aspect="auto", origin="lower", extent=extent, vmin=_FLOOR_DB, vmax=0, cmap="magma")
    axes.set(ylabel="kHz", title=f"{title}: {len(audio)} samples", ylim=(0, min(_TOP_HZ, rate_hz / 2) / 1000))
