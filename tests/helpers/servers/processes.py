"""Processes of a server's models."""

import psutil

from tritone_server.launcher import TritonServer

__all__ = ["ended", "process_of"]


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
