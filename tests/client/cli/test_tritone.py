"""The command ``tritone`` on a live server: it reads and writes files of many kinds."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from tritone_client import Codec
from tritone_client.cli.main import main
from tritone_server.launcher import TritonServer

NAME = "small_nanocodec"


@pytest.fixture
def url(server: TritonServer, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("TRITONE_URL", server.url)
    return server.url


def stereo(path: Path, seconds: float = 0.5, rate_hz: int = 44100) -> Path:
    samples = 0.3 * np.random.default_rng(0).standard_normal((int(seconds * rate_hz), 2))
    soundfile.write(path, samples, rate_hz)
    return path


def test_a_file_of_another_rate_and_two_channels_goes_there_and_back(url: str, tmp_path: Path) -> None:
    tokens, wav = tmp_path / "tokens.npy", tmp_path / "out.wav"
    assert main(["encode", str(stereo(tmp_path / "in.flac")), str(tokens), "--codec", NAME]) == 0
    assert np.load(tokens).shape == (4, 225)
    assert main(["decode", str(tokens), str(wav), "--codec", NAME]) == 0
    assert (soundfile.info(wav).frames, soundfile.info(wav).samplerate) == (225 * 49, 22050)


def test_a_file_is_written_at_the_rate_that_was_asked_for(
    url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tokens = np.random.default_rng(0).integers(0, 4032, (4, 90))
    np.save(tmp_path / "tokens.npy", tokens)
    wav = str(tmp_path / "call.wav")
    command = ["decode", str(tmp_path / "tokens.npy"), wav, "--codec", NAME, "--rate"]
    assert main([*command, "0"]) == 1
    assert "got 0" in capsys.readouterr().err
    assert main([*command, "8000"]) == 0
    with Codec(NAME, url) as codec:
        expected = codec.decode(tokens, 8000)
    found, rate_hz = soundfile.read(wav)
    assert rate_hz == 8000
    assert np.abs(found - np.clip(expected, -1, 1)).max() < 1e-3, "16 bit"


def test_many_files_go_into_a_folder(url: str, tmp_path: Path) -> None:
    sources = [str(stereo(tmp_path / f"{index}.ogg", 0.2 + 0.1 * index)) for index in range(3)]
    assert main(["encode", *sources, str(tmp_path / "tokens"), "--codec", NAME]) == 0
    made = sorted((tmp_path / "tokens").iterdir())
    assert [path.name for path in made] == ["0.npy", "1.npy", "2.npy"]
    assert main(["decode", *map(str, made), str(tmp_path / "wavs"), "--codec", NAME, "--format", "flac"]) == 0
    assert sorted(path.name for path in (tmp_path / "wavs").iterdir()) == ["0.flac", "1.flac", "2.flac"]


def test_codecs_are_listed_with_their_figures(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["codecs"]) == 0
    lines = {line.split()[0]: line.split()[1:6] for line in capsys.readouterr().out.splitlines()}
    assert lines[NAME] == ["22050", "1", "450.00", "4", "4032"]
    assert lines["small_spectral_25fps"] == ["800>900", "1", "50.00", "5", "65536"]


def test_an_error_is_one_line(url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "text.wav").write_text("no audio")
    np.save(tmp_path / "floats.npy", np.zeros((4, 3)))
    (tmp_path / "text.npy").write_text("no tokens")
    target, tokens = str(tmp_path / "out.wav"), str(tmp_path / "out.npy")
    for arguments, message in (
        (["encode", str(tmp_path / "text.wav"), tokens, "--codec", NAME], "not an audio file"),
        (["encode", str(tmp_path / "none.wav"), tokens, "--codec", NAME], "is no file"),
        (["decode", str(tmp_path / "floats.npy"), target, "--codec", NAME], "integers, got float64"),
        (
            ["decode", str(tmp_path / "text.npy"), target, "--codec", NAME],
            "text.npy holds no tokens: it has 'no'",
        ),
        (["decode", str(tmp_path / "floats.npy"), target], "choose one with --codec"),
        (["decode", "a.npy", "b.npy", target, "--codec", NAME], "need a folder"),
        (["codecs", "--url", "127.0.0.1:9"], "tritone-serve"),
        (["codecs", "--device", "cuda"], "--device goes with --local FOLDER"),
    ):
        assert main(arguments) == 1
        error = capsys.readouterr().err
        assert message in error
        assert error.startswith("tritone: ")
        assert len(error.splitlines()) == 1


def test_nothing_is_left_behind_by_a_failure(url: str, tmp_path: Path) -> None:
    target = tmp_path / "tokens.npy"
    soundfile.write(tmp_path / "click.wav", np.zeros(10), 22050)
    assert main(["encode", str(tmp_path / "click.wav"), str(target), "--codec", NAME]) == 1
    assert not target.exists()
