"""Programs that some tests need and that no package of ours brings; a plugin of pytest."""

import os
import shutil
from collections import Counter
from collections.abc import Generator
from dataclasses import dataclass

import pytest

__all__ = ["PROGRAMS", "REQUIRED", "Program", "needs"]

REQUIRED = "TRITONE_REQUIRE_PROGRAMS"
"""Where this environment variable is set, a missing program is a failure; else its tests are left out."""


@dataclass(frozen=True)
class Program:
    """The Debian package that brings it, and the names that its executable may have."""

    package: str
    names: tuple[str, ...]


PROGRAMS = {
    "chromium": Program("chromium", ("chromium", "google-chrome", "chrome")),
    "debootstrap": Program("debootstrap", ("debootstrap",)),
    "espeak-ng": Program("espeak-ng", ("espeak-ng",)),
    "flite": Program("flite", ("flite",)),
    "haproxy": Program("haproxy", ("haproxy",)),
    "prometheus": Program("prometheus", ("prometheus",)),
    "promtool": Program("prometheus", ("promtool",)),
}
"""All of their packages stand in .ci/packages, too."""


def needs(name: str) -> str:
    """Path of a program; without it the test that asks is left out, or fails where all are required.

    A whole test or module asks with ``pytest.mark.needs(name)``.
    """
    program = PROGRAMS[name]
    path = next(filter(None, map(shutil.which, program.names)), None)
    if path is None:
        said = f"{name} is missing: install the package {program.package}"
        if os.environ.get(REQUIRED):
            pytest.fail(f"{said}, or unset {REQUIRED}", pytrace=False)
        pytest.skip(said)
    return path


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """``pytest.mark.needs``: before anything is built or served for the test."""
    for mark in item.iter_markers("needs"):
        for name in mark.args:
            needs(name)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> Generator[None, None, None]:
    """Last of all, the tests that were left out, and why."""
    yield
    reasons = Counter(
        str(report.longrepr[2]).removeprefix("Skipped: ")
        for report in terminalreporter.stats.get("skipped", [])
    )
    for reason, count in reasons.items():
        terminalreporter.write_line(f"{count} left out: {reason}", yellow=True)
