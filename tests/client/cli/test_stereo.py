"""The command ``tritone`` with a stereo codec: files and raw audio of two channels."""

import io
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from tritone_client import Codec
from tritone_client.cli.main import main
from tritone_client.cli.pcm import audio_of, raw_of
from tritone_server.launcher import TritonServer

NAME = "small_moss_nano"
RATE_HZ, HOP = 200, 16
SAMPLES = 40 * HOP + 7


@pytest.fixture
def codec(server: TritonServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[Codec]:
    monkeypatch.setenv("TRITONE_URL", server.url)
    with Codec(NAME, server.url) as opened:
        yield opened


def noise(channels: int) -> NDArray[np.float32]:
    """[C, S], another noise in each channel."""
    return (0.2 * np.random.default_rng(0).standard_normal((channels, SAMPLES))).astype(np.float32)


def piped(monkeypatch: pytest.MonkeyPatch, given: bytes = b"") -> io.BytesIO:
    """Replace standard input by some bytes, and return what is written to standard output."""
    out = io.BytesIO()
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(given)))
    monkeypatch.setattr("sys.stdout", SimpleNamespace(buffer=out))
    return out


def assert_same_sound(found: NDArray[Any], expected: NDArray[np.float32]) -> None:
    """16-bit samples [S, 2] against audio [2, S]."""
    assert found.shape == expected.T.shape
    assert np.abs(found.astype(int) - 32767 * np.clip(expected.T, -1, 1)).max() < 2


@pytest.mark.parametrize("channels", [1, 2])
def test_a_file_of_one_or_two_channels_comes_back_with_two(
    channels: int, codec: Codec, tmp_path: Path
) -> None:
    recording, tokens, wav = (tmp_path / name for name in ("in.wav", "tokens.npy", "out.wav"))
    soundfile.write(recording, noise(channels).T, RATE_HZ, subtype="FLOAT")
    assert main(["encode", str(recording), str(tokens), "--codec", NAME]) == 0
    assert main(["decode", str(tokens), str(wav), "--codec", NAME]) == 0
    expected = codec.encode(noise(2) if channels == 2 else noise(1)[0], RATE_HZ)
    assert np.array_equal(np.load(tokens), expected)
    found, rate_hz = soundfile.read(wav, dtype="int16")
    assert (len(found), rate_hz) == (41 * HOP, RATE_HZ)
    assert_same_sound(found, codec.decode(expected))
    assert not np.array_equal(found[:, 0], found[:, 1])


def test_channels_that_the_codec_does_not_take_are_reported(
    codec: Codec, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    soundfile.write(tmp_path / "in.wav", noise(3).T, RATE_HZ)
    target = tmp_path / "tokens.npy"
    assert main(["encode", str(tmp_path / "in.wav"), str(target), "--codec", NAME]) == 1
    assert "has 3 channels, the codec takes 2, or 1 for all of them" in capsys.readouterr().err
    assert not target.exists()


@pytest.mark.parametrize("rest", [b"", b"\1", b"\1\2", b"\1\2\3"], ids=len)
@pytest.mark.parametrize("frames", ["1", "7"])
def test_raw_sound_is_interleaved_and_a_part_of_a_sample_at_its_end_is_left_out(
    frames: str, rest: bytes, codec: Codec, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw = raw_of(noise(2))
    expected = codec.decode(codec.encode(audio_of(raw, 2), RATE_HZ))
    out = piped(monkeypatch, raw + rest)
    assert main(["stream", "-", "-", "--codec", NAME, "--frames", frames]) == 0
    assert_same_sound(np.frombuffer(out.getvalue(), "<i2").reshape(-1, 2), expected)


def test_tokens_become_interleaved_raw_sound_and_a_stereo_file(
    codec: Codec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokens = codec.encode(noise(2), RATE_HZ)
    np.save(tmp_path / "tokens.npy", tokens)
    out = piped(monkeypatch)
    for target in ("-", str(tmp_path / "out.wav")):
        assert main(["stream", str(tmp_path / "tokens.npy"), target, "--codec", NAME]) == 0
    assert_same_sound(np.frombuffer(out.getvalue(), "<i2").reshape(-1, 2), codec.decode(tokens))
    assert_same_sound(soundfile.read(tmp_path / "out.wav", dtype="int16")[0], codec.decode(tokens))
