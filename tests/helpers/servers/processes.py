"""Processes of the launcher, and of a server's models."""

import subprocess
import sys
from pathlib import Path

import psutil

from helpers.paths import ROOT
from tritone_server.launcher import TritonServer

__all__ = ["dry_run", "ended", "process_of"]


def process_of(server: TritonServer, model: str) -> psutil.Process:
    """The process in which the server runs a model."""
    (found,) = [
        each
        for each in psutil.Process(server.pid).children()
        if any(f"/{model}/" in word for word in each.cmdline())
    ]
    return found


def ended(process: psutil.Process) -> bool:
    """Whether a process has ended, even if its parent has not collected its status yet."""
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def dry_run(codec: str, repository: Path, *options: str) -> "subprocess.CompletedProcess[str]":
    """What the launcher says that it would start."""
    command = [
        sys.executable,
        "-m",
        "tritone_server.cli",
        codec,
        "--dry-run",
        "--repository",
        str(repository),
    ]
    return subprocess.run([*command, *options], cwd=ROOT, capture_output=True, text=True, check=False)
