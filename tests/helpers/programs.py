"""A pytest plugin for programs that some tests need and that pip does not install."""

import os
import shutil
from collections import Counter
from collections.abc import Generator
from dataclasses import dataclass

import pytest

__all__ = ["PROGRAMS", "REQUIRED", "Program", "needs"]

REQUIRED = "TRITONE_REQUIRE_PROGRAMS"
"""If this environment variable is set, a missing program fails its tests; otherwise they are skipped."""


@dataclass(frozen=True)
class Program:
    """A program: its Debian package, and the names that its executable may have."""

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
"""Programs by name; .ci/packages lists the same packages."""


def needs(name: str) -> str:
    """Path of a program; if it is missing, skip the test, or fail it if programs are required.

    Tests and modules can use ``pytest.mark.needs(name)`` instead.
    """
    program = PROGRAMS[name]
    path = next(filter(None, map(shutil.which, program.names)), None)
    if path is None:
        message = f"{name} is missing: install the package {program.package}"
        if os.environ.get(REQUIRED):
            pytest.fail(f"{message}, or unset {REQUIRED}", pytrace=False)
        pytest.skip(message)
    return path


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Apply ``pytest.mark.needs`` before any fixture builds or serves something for the test."""
    for mark in item.iter_markers("needs"):
        for name in mark.args:
            needs(name)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> Generator[None, None, None]:
    """At the very end, print how many tests were skipped, by reason."""
    yield
    reasons = Counter(
        str(report.longrepr[2]).removeprefix("Skipped: ")
        for report in terminalreporter.stats.get("skipped", [])
    )
    for reason, count in reasons.items():
        terminalreporter.write_line(f"{count} left out: {reason}", yellow=True)
