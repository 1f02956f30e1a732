"""``tritone stream`` and the KaniTTS decoder on a live server."""

import io
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from numpy.typing import NDArray

from tritone_client import Codec, TokensError
from tritone_client.adapters.kanitts import KaniTTSDecoder
from tritone_client.cli.main import main
from tritone_client.cli.pcm import audio_of, pcm_of
from tritone_server.launcher import TritonServer

NAME = "small_nanocodec"


@pytest.fixture
def url(server: TritonServer, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("TRITONE_URL", server.url)
    return server.url


@pytest.fixture
def tokens() -> NDArray[np.int64]:
    return np.random.default_rng(0).integers(0, 4032, (4, 50))


def piped(monkeypatch: pytest.MonkeyPatch, given: bytes = b"") -> io.BytesIO:
    """Replace standard input by some bytes, and return what is written to standard output."""
    out = io.BytesIO()
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(given)))
    monkeypatch.setattr("sys.stdout", SimpleNamespace(buffer=out))
    return out


@pytest.mark.parametrize("more", [[], ["--frames", "7"], ["--realtime"]], ids=" ".join)
def test_tokens_are_decoded_as_they_come(
    url: str, tmp_path: Path, tokens: NDArray[Any], capsys: pytest.CaptureFixture[str], more: list[str]
) -> None:
    np.save(tmp_path / "tokens.npy", tokens)
    wav = tmp_path / "out.wav"
    assert main(["stream", str(tmp_path / "tokens.npy"), str(wav), "--codec", NAME, *more]) == 0
    audio, rate_hz = soundfile.read(wav)
    assert (len(audio), rate_hz) == (50 * 49, 22050)
    report = capsys.readouterr().err
    assert re.search(r"^first audio +[\d.]+ ms$", report, re.M)
    assert re.search(r"median [\d.]+ ms, p95 [\d.]+ ms, max [\d.]+ ms, (50|8) of ", report)
    assert bool(re.search(r"^late +\d+ of 50$", report, re.M)) == (more == ["--realtime"])


def test_requests_may_grow(
    url: str, tmp_path: Path, tokens: NDArray[Any], capsys: pytest.CaptureFixture[str]
) -> None:
    np.save(tmp_path / "tokens.npy", tokens)
    command = ["stream", str(tmp_path / "tokens.npy"), str(tmp_path / "out.wav"), "--codec", NAME]
    assert main([*command, "--first", "1", "--then", "16"]) == 0
    assert len(soundfile.read(tmp_path / "out.wav")[0]) == 50 * 49
    assert "ms, 7 of growing size" in capsys.readouterr().err, "1, 2, 4, 8, 16, 16 and 3 frames"
    assert main([*command, "--overwrite", "--first", "9", "--then", "2"]) == 1
    assert "first=9 and then=2; exchange them" in capsys.readouterr().err


def test_tokens_become_raw_sound(
    url: str, tmp_path: Path, tokens: NDArray[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    np.save(tmp_path / "tokens.npy", tokens)
    out = piped(monkeypatch)
    assert main(["stream", str(tmp_path / "tokens.npy"), "-", "--codec", NAME]) == 0
    with Codec(NAME, url) as codec:
        expected = pcm_of(codec.decode(tokens))
    assert np.abs(np.frombuffer(out.getvalue(), "<i2").astype(int) - expected).max() <= 1


@pytest.mark.parametrize("name", [NAME, "small_lfsc", "small_spectral_25fps"])
def test_raw_sound_goes_there_and_back(url: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with Codec(name, url) as codec:
        sound = np.sin(np.arange(40.5 * codec.info.encode_samples_per_frame) / 20) / 3
        expected = pcm_of(
            codec.decode(codec.encode(audio_of(pcm_of(sound).tobytes()), codec.info.encode_sample_rate_hz))
        )
    out = piped(monkeypatch, pcm_of(sound).tobytes() + b"\0")
    assert main(["stream", "-", "-", "--codec", name, "--first", "1", "--then", "4"]) == 0
    assert np.abs(np.frombuffer(out.getvalue(), "<i2").astype(int) - expected).max() <= 1


def test_raw_sound_has_the_rates_that_were_asked_for(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    sound = np.sin(np.arange(8000) / 20) / 3
    with Codec(NAME, url) as codec:
        tokens = codec.encode(audio_of(pcm_of(sound).tobytes()), 16000)
        expected = codec.decode(tokens, 8000, dtype="int16")
    out = piped(monkeypatch, pcm_of(sound).tobytes())
    rates = ["--input-rate", "16000", "--rate", "8000", "--frames", "20"]
    assert main(["stream", "-", "-", "--codec", NAME, *rates]) == 0
    assert np.abs(np.frombuffer(out.getvalue(), "<i2").astype(int) - expected).max() <= 2


def test_raw_sound_may_look_like_the_beginning_of_a_file(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    sound = np.arange(100, 600).astype("<i2")
    sound[4] = 0x227B  # the fifth and sixth byte after a length, as of safetensors
    out = piped(monkeypatch, sound.tobytes())
    assert main(["stream", "-", "-", "--codec", NAME]) == 0
    assert out.getvalue()


def test_the_target_is_checked_before_anything_is_recorded(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    piped(monkeypatch)
    monkeypatch.setattr("sys.stdin", None)  # is not read
    assert main(["stream", "-", str(tmp_path / "talk.mp4"), "--codec", NAME]) == 1
    assert "mp4" in capsys.readouterr().err


def test_a_mistake_is_reported(
    url: str, tmp_path: Path, tokens: NDArray[Any], capsys: pytest.CaptureFixture[str]
) -> None:
    np.save(tmp_path / "flat.npy", tokens[0])
    np.save(tmp_path / "tokens.npy", tokens)
    target = str(tmp_path / "out.wav")
    assert main(["stream", str(tmp_path / "flat.npy"), target, "--codec", NAME]) == 1
    assert main(["stream", str(tmp_path / "tokens.npy"), target, "--codec", NAME, "--frames", "0"]) == 1
    assert main(["stream", str(tmp_path / "tokens.npy"), target, "--codec", NAME, "--rate", "-8000"]) == 1
    assert [line[:8] for line in capsys.readouterr().err.splitlines()] == ["tritone:"] * 3
    assert not Path(target).exists()


def test_kanitts_frames_join_without_seams(url: str, tokens: NDArray[Any]) -> None:
    with KaniTTSDecoder(NAME, url) as decoder, Codec(NAME, url) as codec:
        expected = pcm_of(codec.decode(tokens)).astype(int)
        for _ in range(2):
            pcm = np.concatenate([decoder.decode_frame(list(frame)) for frame in tokens.T])
            assert (str(pcm.dtype), decoder.sample_rate) == ("int16", 22050)
            assert np.abs(pcm - expected).max() <= 1
            decoder.reset()
        assert np.abs(decoder.decode_frames(tokens.T) - expected).max() <= 1
        with pytest.raises(TokensError):
            decoder.decode_frame([1, 2, 3])
        with pytest.raises(TokensError, match="cannot view a list of 2, 3 to 4 in each"):
            decoder.decode_frames([[1, 2, 3, 4], [1, 2, 3]])
        decoder.reset()
        assert np.abs(decoder.decode_frames(list(torch.tensor(tokens.T))) - expected).max() <= 1
        assert decoder.decode_frame([1, 2, 3, 4]).shape == (49,)


def test_pcm_is_clipped_and_rounded() -> None:
    assert pcm_of(np.array([0.0, 1.0, -1.0, 1.5, -7.0, 0.6 / 32767])).tolist() == [
        0,
        32767,
        -32767,
        32767,
        -32767,
        1,
    ]
    assert audio_of(b"\x00\x80\xff\x7f").tolist() == [-1.0, 32767 / 32768]
