"""Folders of pinned packages, and processes that use them."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from helpers.paths import ROOT

from scripts.peers import environments
from scripts.peers.environments import Environment
from scripts.peers.worker_process import WorkerError, WorkerProcess
from tritone_server.wheels import WheelError

SCRIPT = """
import sys
from multiprocessing.connection import Connection
import torch, tiny_peer
connection = Connection(int(sys.argv[1]))
while True:
    try:
        threads, method, arguments = connection.recv()
    except EOFError:
        break
    if method == "end":
        sys.exit(3)
    connection.send((method != "fail", (threads, tiny_peer.VALUE, sys.argv[2], *arguments)))
"""


@pytest.fixture
def wheel(tmp_path: Path) -> Path:
    """A package with one module."""
    path, facts = tmp_path / "tiny_peer-1.0-py3-none-any.whl", "tiny_peer-1.0.dist-info"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("tiny_peer.py", "VALUE = 7\n")
        archive.writestr(f"{facts}/METADATA", "Metadata-Version: 2.1\nName: tiny-peer\nVersion: 1.0\n")
        archive.writestr(f"{facts}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{facts}/RECORD", "")
    return path


@pytest.fixture
def packages(wheel: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(environments, "CACHE", tmp_path / "cache")
    return Environment("tiny", [str(wheel)]).folder()


@pytest.fixture
def worker(packages: Path, tmp_path: Path) -> WorkerProcess:
    script = tmp_path / "worker.py"
    script.write_text(SCRIPT)
    return WorkerProcess(script, ["argument"], packages)


def test_processes_that_ask_at_once_install_once(wheel: Path, tmp_path: Path) -> None:
    code = "from scripts.peers.environments import Environment; "
    code += f"print(Environment('tiny', [{str(wheel)!r}]).folder())"
    asked = [
        subprocess.Popen(
            [sys.executable, "-c", code],
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env={"TRITONE_CACHE": str(tmp_path / "cache"), "PATH": ""},
        )
        for _ in range(3)
    ]
    answers = [process.communicate()[0].splitlines() for process in asked]
    assert sorted(map(len, answers)) == [1, 1, 2], "one of them tells that it installs"
    assert {answer[-1] for answer in answers} == {
        str(folder) for folder in tmp_path.glob("cache/*/tiny-*[!k]")
    }
    assert Path(answers[0][-1], "tiny_peer.py").exists()


def test_a_package_that_pip_cannot_find_leaves_nothing(packages: Path) -> None:
    with pytest.raises(WheelError, match=r"pip could not install the packages of absent.*absent"):
        Environment("absent", [str(packages / "absent-1.0-py3-none-any.whl")]).folder()
    assert not [path for path in packages.parent.iterdir() if path.is_dir() and path != packages]


def test_a_worker_has_its_own_packages_and_pytorch_from_here(worker: WorkerProcess) -> None:
    threads, value, *rest = worker.call("anything", 1, 2)
    assert (value, rest) == (7, ["argument", 1, 2])
    assert threads >= 1


def test_a_request_that_fails_is_told_and_the_worker_goes_on(worker: WorkerProcess) -> None:
    with pytest.raises(WorkerError, match="'fail'"):
        worker.call("fail")
    assert worker.call("anything")[1] == 7


def test_a_worker_that_ended_is_told_with_its_code(worker: WorkerProcess) -> None:
    with pytest.raises(WorkerError, match="ended with code 3 during 'end'"):
        worker.call("end")
    with pytest.raises(WorkerError, match="ended with code 3 during 'anything'"):
        worker.call("anything")
