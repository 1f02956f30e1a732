"""A Python process with packages of its own, which answers one request after another."""

import os
import subprocess
import sys
import weakref
from collections.abc import Sequence
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch

__all__ = ["WorkerError", "WorkerProcess"]

_CLOSING_S = 30
_ENVIRONMENT = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_VERBOSITY": "error"}


class WorkerError(RuntimeError):
    """A worker process has ended, or could not answer a request."""


class WorkerProcess:
    """A process that runs a script; it ends with this object, and with this process.

    The script gets the number of a file descriptor, then ``arguments``. A request is ``(threads, method,
    arguments)`` and its answer ``(succeeded, result or traceback)``; both are sent by
    :class:`multiprocessing.connection.Connection`.

    Args:
        script: that answers the requests.
        arguments: of the script.
        packages: folder whose packages precede those of this interpreter.
    """

    def __init__(self, script: Path, arguments: Sequence[str], packages: Path):
        self._name = script.stem
        self._connection, theirs = Pipe()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-P", str(script), str(theirs.fileno()), *arguments],
                pass_fds=[theirs.fileno()],
                env=os.environ | _ENVIRONMENT | {"PYTHONPATH": _path(packages)},
            )
        self._finalizer = weakref.finalize(self, _end, self._connection, self._process)

    def call(self, method: str, *arguments: Any) -> Any:
        """The answer to a request, computed with as many threads as PyTorch has in this process.

        Raises:
            WorkerError: the process has ended, or the request raised an exception there.
        """
        try:
            self._connection.send((torch.get_num_threads(), method, arguments))
            succeeded, answer = self._connection.recv()
        except (EOFError, OSError) as error:
            self._finalizer()
            raise WorkerError(
                f"{self._name} ended with code {self._process.returncode} during {method!r}; "
                "its messages are on the standard error stream"
            ) from error
        if not succeeded:
            raise WorkerError(f"{self._name} could not answer {method!r}:\n{answer}")
        return answer


def _path(packages: Path) -> str:
    present = os.environ.get("PYTHONPATH")
    return f"{packages}{os.pathsep}{present}" if present else str(packages)


def _end(connection: "Connection[Any, Any]", process: "subprocess.Popen[bytes]") -> None:
    """Close the connection, upon which the script ends."""
    connection.close()
    try:
        process.wait(_CLOSING_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
