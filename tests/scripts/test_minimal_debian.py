"""The minimal Debian on which continuous integration runs the demo, and the settings copied to it."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.paths import ROOT

from scripts.ci.host_settings import PipSettings, apt_settings, mirror_of

COMMAND = [sys.executable, "-S", "-m", "scripts.ci.minimal_debian"]


def test_a_machine_that_cannot_make_the_root_file_system_prints_one_line(tmp_path: Path) -> None:
    done = subprocess.run(
        [*COMMAND, "--demo-only"],
        env=os.environ | {"PATH": str(tmp_path)},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.startswith("minimal Debian: skipped, since ")
    assert done.stdout.count("\n") == 1
    assert not done.stderr


def test_files_and_folders_that_pips_settings_name_are_found(tmp_path: Path) -> None:
    for folder in ("wheels", "index/simple", "index/files"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "ca.pem").touch()
    settings = PipSettings(
        {
            "global.find-links": f"{tmp_path}/wheels",
            "global.extra-index-url": f"https://index.invalid/simple\nfile://{tmp_path}/index/simple",
            "install.constraint": f"{tmp_path}/none.txt",
        },
        {"PIP_CERT": f"{tmp_path}/ca.pem", "PIP_DEFAULT_TIMEOUT": "180"},
    )
    assert settings.folders() == {tmp_path / "wheels", tmp_path / "index"}
    assert settings.files() == {tmp_path / "ca.pem"}


def test_pip_reads_the_same_settings_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = "global.cert='/ca.pem'", "global.extra-index-url='https://a.invalid\\nhttps://b.invalid'"
    here = PipSettings(
        {"global.cert": "/ca.pem", "global.extra-index-url": "https://a.invalid\nhttps://b.invalid"}, {}
    )
    (tmp_path / "pip.conf").write_text(here.text())
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.invalid:3128")
    monkeypatch.setenv("PIP_CONFIG_FILE", str(tmp_path / "pip.conf"))
    read = PipSettings.here()
    assert {**read.options, **here.options} == read.options
    assert read.environment["HTTPS_PROXY"] == "http://proxy.invalid:3128"
    listed = subprocess.check_output([sys.executable, "-m", "pip", "config", "list"], text=True)
    assert set(lines) <= set(listed.splitlines())


@pytest.mark.skipif(shutil.which("apt-get") is None, reason="no apt on this machine")
def test_the_machines_own_archive_and_settings_of_apt_are_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sources.list").write_text("deb [trusted=yes] http://archive.invalid/debian bookworm main\n")
    settings = {
        "Dir::Etc::SourceList": tmp_path / "sources.list",
        "Dir::Etc::SourceParts": "/dev/null",
        "Dir::State::Lists": tmp_path,
        "Acquire::http::Proxy": "http://proxy.invalid:3128",
    }
    (tmp_path / "apt.conf").write_text("".join(f'{key} "{value}";\n' for key, value in settings.items()))
    monkeypatch.setenv("APT_CONFIG", str(tmp_path / "apt.conf"))
    assert mirror_of("bookworm") == "http://archive.invalid/debian/"
    assert mirror_of("trixie") is None
    assert 'Acquire::http::Proxy "http://proxy.invalid:3128";' in apt_settings()
    assert "Dir::" not in apt_settings()
