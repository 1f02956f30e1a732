"""Paths with spaces and quotes in them: of checkpoints, sounds, repositories, and of the clone itself."""

import os
import shutil
import stat
import subprocess
import tempfile
from pathlib import Path

import numpy as np
import pytest
from helpers.paths import ROOT

from tritone_build.checkpoints.checkpoint import Checkpoint
from tritone_client import Codec
from tritone_server import binaries as server_files
from tritone_server import launcher as tritonserver
from tritone_server.binaries import ServerError, shell_path
from tritone_server.launcher import Ports, TritonServer

NAME = "small_nanocodec"
ODD = "my files, it's  two"


def make(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """With what is installed: targets that would install are taken for done."""
    done = [flag for target in ("ready", "engines") for flag in ("-o", f".venv/.{target}")]
    return subprocess.run(
        ["make", *done, *arguments],
        cwd=ROOT,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def odd(tmp_path: Path) -> Path:
    folder = tmp_path / ODD
    folder.mkdir()
    return folder


@pytest.mark.parametrize("target", ["models", "engines", "demo"])
def test_make_takes_a_checkpoint_with_an_odd_path(target: str, odd: Path) -> None:
    path = odd / 'a "codec"#2.nemo'
    path.touch()
    done = make(target, f"CHECKPOINT={path}")
    assert done.returncode
    assert f"{path} is empty" in done.stderr


def test_make_takes_a_checkpoint_from_the_environment_and_the_home_folder(odd: Path) -> None:
    (odd / "x.nemo").touch()
    done = make("models", CHECKPOINT="~/x.nemo", HOME=str(odd))
    assert f"{odd}/x.nemo is empty" in done.stderr


def test_make_takes_a_sound_with_an_odd_path(odd: Path) -> None:
    path = odd / "speech.wav"
    path.write_text("no sound")
    done = make("demo", f"AUDIO={path}")
    assert str(path) in done.stderr
    assert "not an audio file" in done.stderr


def test_make_takes_a_repository_with_an_odd_path(
    odd: Path, repository: Path, checkpoints: dict[str, Checkpoint]
) -> None:
    (odd / "models").symlink_to(repository)
    arguments = f"CODEC={NAME}", f"CHECKPOINT={checkpoints[NAME].source}", f"REPOSITORY={odd / 'models'}"
    done = make("models", *arguments)
    assert done.returncode == 0, done.stderr
    assert "up to date" in done.stderr
    assert f"{odd}/none" in make("serve", f"REPOSITORY={odd}/none").stderr


def test_a_server_runs_in_a_clone_and_from_a_repository_with_odd_paths(
    odd: Path, repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder in repository.glob(f"{NAME}_*"):
        shutil.copytree(folder, odd / "models" / folder.name)
    monkeypatch.setattr(server_files, "CACHE", odd / "cache")
    monkeypatch.setattr(tritonserver, "CACHE", odd / "cache")
    monkeypatch.setattr(tritonserver, "_SERVING", odd / "cache" / "serving")
    with TritonServer(odd / "models", [NAME], ports=Ports.free()) as server, Codec(NAME, server.url) as codec:
        assert str(server.log).startswith(str(odd))
        assert np.isfinite(codec.decode(np.zeros((4, 5), np.int64))).all()


def test_a_plain_path_is_itself_and_an_odd_one_a_private_link(tmp_path: Path, odd: Path) -> None:
    assert shell_path(tmp_path) == tmp_path
    link = shell_path(odd)
    assert link.resolve() == odd
    assert " " not in str(link)
    assert shell_path(odd) == link
    assert stat.S_IMODE(link.parent.stat().st_mode) == stat.S_IRWXU


def test_without_a_folder_for_the_link_it_is_said(odd: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_files, "_TEMPORARY", ())
    monkeypatch.setattr(server_files, "_private_folder", server_files._private_folder.__wrapped__)
    monkeypatch.setattr(tempfile, "tempdir", str(odd))
    with pytest.raises(
        ServerError, match=r"such as a space.*set TMPDIR or TRITONE_CACHE to a folder whose path has only"
    ):
        shell_path(odd)
