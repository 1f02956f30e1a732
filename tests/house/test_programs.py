"""Tests whose program is missing are skipped and listed, or fail if programs are required."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from helpers.paths import ROOT
from helpers.programs import PROGRAMS, REQUIRED, needs

ENGINES = "nanocodec nanocodec_mini lfsc spectral_25fps mimi moss_shallow snac_24khz"
MAKE = f"make lint test engines-check CODECS={ENGINES}"
FRESH = "python3 -m scripts.ci.minimal_debian --demo-only"
TESTS = """
import pytest
from helpers.programs import needs

@pytest.fixture
def browser():
    return needs("chromium")

def test_a_page(browser):
    pass

@pytest.mark.needs("prometheus", "promtool")
def test_alerts():
    pass

def test_without():
    pass
"""


def run(folder: Path, **environment: str) -> str:
    """The output of pytest on a machine without any of these programs."""
    (folder / "test_some.py").write_text(TESTS)
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-p",
        "helpers.programs",
        "-p",
        "no:cacheprovider",
        "-q",
        str(folder),
    ]
    settings = {"PATH": str(folder), "PYTHONPATH": str(ROOT / "tests")} | environment
    done = subprocess.run(command, cwd=folder, env=settings, capture_output=True, text=True, check=False)
    return done.stdout


def test_skipped_tests_are_listed_last_with_the_missing_package(tmp_path: Path) -> None:
    assert run(tmp_path).splitlines()[-3:-1] == [
        "1 left out: chromium is missing: install the package chromium",
        "1 left out: prometheus is missing: install the package prometheus",
    ]


def test_a_missing_program_fails_its_tests_if_programs_are_required(tmp_path: Path) -> None:
    output = run(tmp_path, **{REQUIRED: "1"})
    assert "left out" not in output
    assert f"chromium is missing: install the package chromium, or unset {REQUIRED}" in output
    assert "1 passed" in output
    assert "2 errors" in output


def test_a_program_is_found_under_any_of_its_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    (tmp_path / "google-chrome").touch(mode=0o755)
    assert needs("chromium") == str(tmp_path / "google-chrome")


def test_continuous_integration_installs_all_of_them() -> None:
    packages = (ROOT / ".ci" / "packages").read_text().split()
    assert packages == sorted({program.package for program in PROGRAMS.values()})


@pytest.fixture
def ran(tmp_path: Path) -> Callable[..., tuple[str, list[str]]]:
    """Run .ci/run with stand-ins for its tools; return its error output and its calls of these tools."""

    def run(user: int, apt: str | None) -> tuple[str, list[str]]:
        calls = tmp_path / "calls"
        calls.write_text("")
        tools = {"id": f"echo {user}", "make": f'echo "${{{REQUIRED}:-0}} make $*" >> {calls}'}
        tools["python3"] = f'echo "python3 $*" >> {calls}'
        if apt is not None:
            tools["apt-get"] = f'echo "$*" >> {calls}; {apt}'
        for name, script in tools.items():
            (tmp_path / name).write_text(f"#!/bin/sh\n{script}\n")
            (tmp_path / name).chmod(0o755)
        for name in ("bash", "dirname", "env", "sh", "xargs"):
            (tmp_path / name).symlink_to(Path("/usr/bin", name))
        environment = {name: value for name, value in os.environ.items() if name != REQUIRED}
        done = subprocess.run(
            [ROOT / ".ci" / "run"],
            env=environment | {"PATH": str(tmp_path)},
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stderr, calls.read_text().splitlines()

    return run


def test_as_root_programs_are_installed_and_then_required(ran: Callable[..., tuple[str, list[str]]]) -> None:
    output, (update, install, *rest) = ran(0, "exit 0")
    assert (output, rest) == ("", [f"1 {MAKE}", FRESH])
    assert update.startswith("update")
    assert "chromium debootstrap espeak-ng flite haproxy prometheus" in install


@pytest.mark.parametrize(("user", "apt"), [(1000, "exit 0"), (0, None)], ids=["not root", "no apt"])
def test_without_root_or_apt_no_program_is_installed_or_required(
    user: int, apt: str | None, ran: Callable[..., tuple[str, list[str]]]
) -> None:
    assert ran(user, apt) == ("", [f"0 {MAKE}", FRESH])


def test_a_failure_of_apt_is_reported_and_no_program_is_required(
    ran: Callable[..., tuple[str, list[str]]],
) -> None:
    output, calls = ran(0, "exit 100")
    assert "apt could not install all of .ci/packages" in output
    assert calls[-2:] == [f"0 {MAKE}", FRESH]
