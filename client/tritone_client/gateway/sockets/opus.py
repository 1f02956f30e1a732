"""Opus in Ogg, written as the audio comes; needs the ``opus`` extra (PyAV, which brings libopus)."""

import io
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tritone_client.errors import MissingExtraError

__all__ = ["OPUS_RATES_HZ", "OggOpus", "opus_rate"]

OPUS_RATES_HZ = (8_000, 12_000, 16_000, 24_000, 48_000)
"""Sample rates that Opus takes."""
_BITS_PER_S = 32_000
_PAGE_US = 20_000


def opus_rate(rate_hz: int) -> int:
    """The rate at which audio is given to Opus: its own if Opus takes it, or else the next higher one."""
    return next((each for each in OPUS_RATES_HZ if each >= rate_hz), OPUS_RATES_HZ[-1])


class _Sink(io.RawIOBase):
    """A file that keeps what is written until it is taken."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self._parts.append(bytes(data))
        return len(data)

    def take(self) -> bytes:
        parts, self._parts = self._parts, []
        return b"".join(parts)


class OggOpus:
    """One Ogg stream with a page for each 20 ms, at 32 kbit/s a channel.

    Args:
        rate_hz: of the audio, one of :data:`OPUS_RATES_HZ`.
        channels: one or two.

    Raises:
        MissingExtraError: PyAV is not installed.
    """

    def __init__(self, rate_hz: int, channels: int):
        try:
            self._av: Any = import_module("av")
        except ImportError as error:
            raise MissingExtraError("live Opus", "opus") from error
        self._rate_hz, self._samples = rate_hz, 0
        self._layout = "mono" if channels == 1 else "stereo"
        self._sink = _Sink()
        options = {"page_duration": str(_PAGE_US), "flush_packets": "1"}
        self._file = self._av.open(self._sink, "w", format="ogg", options=options)
        self._stream = self._file.add_stream("libopus", rate=rate_hz)
        self._stream.layout, self._stream.bit_rate = self._layout, _BITS_PER_S * channels

    def push(self, audio: NDArray[np.int16]) -> bytes:
        """Pages that are complete after INT16 [S] or [C, S]; may be empty."""
        if audio.shape[-1]:
            interleaved = np.ascontiguousarray(audio.T).reshape(1, -1)
            frame = self._av.AudioFrame.from_ndarray(interleaved, format="s16", layout=self._layout)
            frame.sample_rate, frame.pts = self._rate_hz, self._samples
            self._samples += audio.shape[-1]
            self._mux(frame)
        return self._sink.take()

    def close(self) -> bytes:
        """The last pages."""
        if self._samples:
            self._mux(None)
        self._file.close()
        return self._sink.take()

    def _mux(self, frame: Any) -> None:
        for packet in self._stream.encode(frame):
            self._file.mux(packet)
