"""Files with one channel and with several, read for codecs with one channel and with two."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from tritone_client import AudioError
from tritone_client.cli.pcm import audio_of, pcm_of, raw_of
from tritone_client.inputs.audio import read_audio, resampling, write_audio

LEFT, RIGHT = (np.round(np.sin(np.arange(4000) / 9), 3) * size for size in (0.25, 0.5))
STEREO = np.stack([LEFT, RIGHT]).astype(np.float32)


def test_a_stereo_file_keeps_the_order_of_its_channels(tmp_path: Path) -> None:
    write_audio(tmp_path / "both.wav", STEREO, 48000)
    assert soundfile.info(tmp_path / "both.wav").channels == 2
    audio, rate_hz = read_audio(tmp_path / "both.wav", channels=2)
    assert (audio.shape, rate_hz) == ((2, 4000), 48000)
    assert np.abs(audio - STEREO).max() < 1e-4


def test_a_codec_with_one_channel_gets_the_mean(tmp_path: Path) -> None:
    write_audio(tmp_path / "both.wav", STEREO, 48000)
    audio, _ = read_audio(tmp_path / "both.wav")
    assert np.abs(audio - STEREO.mean(0)).max() < 1e-4


def test_a_file_with_one_channel_stays_one_channel(tmp_path: Path) -> None:
    write_audio(tmp_path / "one.wav", STEREO[0], 48000)
    assert read_audio(tmp_path / "one.wav", channels=2)[0].shape == (4000,)


def test_a_file_with_six_channels_is_refused_by_a_stereo_codec(tmp_path: Path) -> None:
    write_audio(tmp_path / "six.wav", np.tile(STEREO, (3, 1)), 48000)
    with pytest.raises(AudioError, match=r"six.wav has 6 channels, the codec takes 2, or 1 for all of them"):
        read_audio(tmp_path / "six.wav", channels=2)


def test_raw_stereo_audio_is_interleaved_and_comes_back() -> None:
    raw = raw_of(STEREO)
    first = np.frombuffer(raw, "<i2")[:4]
    assert first.tolist() == pcm_of(STEREO[:, :2].T).ravel().tolist()
    assert np.abs(audio_of(raw, channels=2) - STEREO).max() < 1e-4


def test_a_stereo_stream_at_another_rate_equals_its_channels_alone() -> None:
    both, left = resampling(44100, 48000, 2), resampling(44100, 48000)
    pieces = np.split(STEREO, [100, 101, 2500], axis=1)
    made = np.concatenate([both(piece, number == 3) for number, piece in enumerate(pieces)], axis=1)
    alone = np.concatenate([left(piece[0], number == 3) for number, piece in enumerate(pieces)])
    assert made.shape == (2, len(alone))
    assert (made[0] == alone).all()
    assert np.abs(made[1] - 2 * alone).max() < 1e-6
