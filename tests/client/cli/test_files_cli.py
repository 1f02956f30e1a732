"""``tritone encode`` and ``decode`` of many files: none is lost, and a bad one does not stop the rest."""

import io
import json
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

from tritone_client import Codec, ServerUnavailableError, TritoneError
from tritone_client.cli.files import planned
from tritone_client.cli.main import main
from tritone_server.launcher import TritonServer

NAME = "small_nanocodec"
TOKENS = np.arange(36).reshape(4, 9)


@pytest.fixture
def url(server: TritonServer, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("TRITONE_URL", server.url)
    return server.url


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def recorded(name: str, seconds: float = 0.2) -> str:
    Path(name).parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(name, 0.3 * np.random.default_rng(0).standard_normal(int(seconds * 22050)), 22050)
    return name


def asked(*sources: str, target: str, overwrite: bool = False) -> Namespace:
    return Namespace(source=[Path(each) for each in sources], target=Path(target), overwrite=overwrite)


def piped(monkeypatch: pytest.MonkeyPatch, given: bytes = b"") -> io.BytesIO:
    out = io.BytesIO()
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(given)))
    monkeypatch.setattr("sys.stdout", SimpleNamespace(buffer=out))
    return out


@pytest.mark.parametrize(
    ("sources", "made"),
    [
        (("a/x.wav", "b/x.wav"), "both/x.npy"),
        (("x.wav", "x.flac"), "both/x.npy"),
        (("x.wav", "X.wav"), "both/X.npy"),
        (("x.wav", "y.wav", "x.wav"), "both/x.npy"),
        (("caf\u00e9.wav", "cafe\u0301.wav"), "both/cafe\u0301.npy"),
    ],
    ids=["folders", "endings", "case", "twice", "accents"],
)
def test_files_that_would_become_one_are_refused(sources: tuple[str, ...], made: str, folder: Path) -> None:
    with pytest.raises(TritoneError, match=f"{sources[0]} and {sources[-1]} would both become {made}"):
        planned(asked(*sources, target="both"), "npy")
    assert not Path("both").exists()


@pytest.mark.parametrize("command", ["encode", "decode"])
def test_nothing_is_written_where_files_would_be_lost(
    command: str, url: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sources = [recorded("a/x.wav"), recorded("b/x.wav")] if command == "encode" else ["a/x.npy", "b/x.npy"]
    assert main([command, *sources, "both", "--codec", NAME]) == 1
    assert "give them different names" in capsys.readouterr().err
    assert not Path("both").exists()


def test_a_file_that_exists_stays_without_overwrite(
    url: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    np.save("x.npy", TOKENS)
    Path("out.wav").write_bytes(b"precious")
    for command in (["decode"], ["stream"]):
        assert main([*command, "x.npy", "out.wav", "--codec", NAME]) == 1
        assert "out.wav exists; choose another target, or add --overwrite" in capsys.readouterr().err
        assert Path("out.wav").read_bytes() == b"precious"
    for command in (["decode"], ["stream"]):
        Path("out.wav").write_bytes(b"old")
        assert main([*command, "x.npy", "out.wav", "--codec", NAME, "--overwrite"]) == 0
        assert soundfile.info("out.wav").frames == 9 * 49


def test_files_that_exist_in_a_folder_are_counted(folder: Path) -> None:
    Path("out").mkdir()
    for name in ("x", "y"):
        Path(f"out/{name}.npy").touch()
    with pytest.raises(TritoneError, match=r"out/x\.npy and 1 more exist"):
        planned(asked("x.wav", "y.wav", "z.wav", target="out"), "npy")
    plan = planned(asked("x.wav", "y.wav", target="out", overwrite=True), "npy")
    assert plan == [(Path("x.wav"), Path("out/x.npy")), (Path("y.wav"), Path("out/y.npy"))]


def test_a_source_is_never_overwritten(folder: Path) -> None:
    for sources, target in (
        (["x.npy"], "x.npy"),
        (["x.npy"], "../" + folder.name + "/x.npy"),
        (["x.npy"], "."),
    ):
        Path("x.npy").touch()
        with pytest.raises(TritoneError, match=r"x\.npy is a source, and would be overwritten"):
            planned(asked(*sources, target=target, overwrite=True), "npy")


def test_tokens_are_not_written_under_the_name_of_audio(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without this check, a forgotten target would overwrite the second recording."""
    before = Path(recorded("b.wav")).read_bytes()
    assert main(["encode", recorded("a.wav"), "b.wav", "--overwrite"]) == 1
    assert "tokens are written as .npy, got the target b.wav" in capsys.readouterr().err
    assert Path("b.wav").read_bytes() == before


def test_several_files_need_a_folder(folder: Path) -> None:
    Path("file").touch()
    for target in ("tokens.npy", "file", "-"):
        with pytest.raises(TritoneError, match="2 sources need a folder as target"):
            planned(asked("x.wav", "y.wav", target=target), "npy")
    with pytest.raises(TritoneError, match="standard input needs a file as target"):
        planned(asked("-", "y.wav", target="out"), "npy")


def test_a_bad_file_is_reported_and_the_rest_are_converted(
    url: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("text.wav").write_text("no audio")
    sources = [
        recorded("one.wav"),
        "text.wav",
        recorded("click.wav", 0.0001),
        "none.wav",
        recorded("two.wav"),
    ]
    assert main(["encode", *sources, "out", "--codec", NAME]) == 1
    assert sorted(path.name for path in Path("out").iterdir()) == ["one.npy", "two.npy"]
    lines = capsys.readouterr().err.splitlines()
    assert [line.split(" ")[1].rstrip(":") for line in lines[:3]] == ["text.wav", "click.wav", "none.wav"]
    assert lines[3] == "tritone: 3 of 5 files could not be converted"

    np.save("out/floats.npy", np.zeros((4, 3)))
    np.save("out/high.npy", np.full((4, 3), 4032))
    assert main(["decode", *map(str, sorted(Path("out").iterdir())), "back", "--codec", NAME]) == 1
    assert sorted(path.name for path in Path("back").iterdir()) == ["one.wav", "two.wav"]
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith("tritone: out/floats.npy: tokens are integers")
    assert lines[1].startswith("tritone: out/high.npy: tokens of small_nanocodec are 0..4031")
    assert lines[2] == "tritone: 2 of 4 files could not be converted"


def test_files_are_not_tried_one_after_the_other_on_a_server_that_is_gone(
    url: str, folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(*_: Any) -> Any:
        raise ServerUnavailableError("no Triton server answers")

    monkeypatch.setattr(Codec, "encode", gone)
    assert main(["encode", recorded("one.wav"), recorded("two.wav"), "out", "--codec", NAME]) == 1
    assert capsys.readouterr().err == "tritone: no Triton server answers\n"


@pytest.mark.parametrize("name", ["t.pt", "t.npz", "t.json", "t.txt", "t.npy"])
@pytest.mark.parametrize("command", ["decode", "stream"])
def test_tokens_that_other_tools_saved_are_decoded(command: str, name: str, url: str, folder: Path) -> None:
    saved: dict[str, Callable[[], Any]] = {
        "t.pt": lambda: torch.save(torch.tensor(TOKENS)[None], name),
        "t.npz": lambda: np.savez(name, TOKENS),
        "t.json": lambda: Path(name).write_text(json.dumps({"tokens": TOKENS.tolist()})),
        "t.txt": lambda: np.savetxt(name, TOKENS, fmt="%d"),
        "t.npy": lambda: np.save(name, TOKENS),
    }
    saved[name]()
    assert main([command, name, "out.wav", "--codec", NAME]) == 0
    assert soundfile.info("out.wav").frames == 9 * 49


def test_audio_given_as_tokens_and_tokens_given_as_audio_are_reported(
    url: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    np.save("t.npy", TOKENS)
    for arguments, message in (
        (
            ["decode", recorded("a.wav"), "out.wav"],
            "a.wav is an audio file, not tokens; 'tritone encode' makes",
        ),
        (["stream", "a.wav", "out.wav"], "a.wav is an audio file, not tokens"),
        (["encode", "t.npy", "out.npy"], "a NumPy array, perhaps of tokens; 'tritone decode' makes audio"),
        (["decode", "t.npy", "out.xyz"], "out.xyz cannot be written: the ending of audio files"),
        (["decode", "t.npy", "t.npy", "out", "--format", "raw"], "would both become out/t.raw"),
    ):
        assert main([*arguments, "--codec", NAME]) == 1
        assert message in capsys.readouterr().err
    assert not list(folder.glob("out*"))


def test_files_go_through_pipes(url: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recording = Path(recorded("a.wav")).read_bytes()
    assert main(["encode", "a.wav", "a.npy", "--codec", NAME]) == 0
    tokens = piped(monkeypatch, recording)
    assert main(["encode", "-", "-", "--codec", NAME]) == 0
    assert tokens.getvalue() == Path("a.npy").read_bytes()
    received = piped(monkeypatch, tokens.getvalue())
    assert main(["decode", "-", "-", "--format", ".flac", "--codec", NAME]) == 0
    assert soundfile.info(io.BytesIO(received.getvalue())).format == "FLAC"
    piped(monkeypatch, tokens.getvalue())
    assert main(["decode", "-", "b.wav", "--codec", NAME]) == 0
    assert soundfile.info("b.wav").frames == soundfile.info(io.BytesIO(received.getvalue())).frames


@pytest.mark.parametrize("command", ["encode", "decode", "stream"])
def test_what_is_wrong_with_standard_input_is_reported(
    command: str, url: str, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    np.save("t.npy", TOKENS)
    tokens, recording = Path("t.npy").read_bytes(), Path(recorded("a.wav")).read_bytes()
    mistakes = {
        "encode": {tokens: "standard input is not an audio file", b"": "it is empty"},
        "decode": {recording: "standard input is an audio file, not tokens", b"": "standard input is empty"},
        "stream": {
            recording: "raw audio is expected on standard input, got an audio file",
            tokens: "got a NumPy array; name the file instead",
        },
    }
    for given, message in mistakes[command].items():
        piped(monkeypatch, given)
        assert main([command, "-", "-", "--codec", NAME]) == 1
        assert message in capsys.readouterr().err
