"""What clients of the server may ask for: to be served, and how it is.

Unasked, Triton also lets them unload models, load models of their own, which may be Python code, write into
shared memory of the machine, and set where it traces to. Its HTTP port parses requests in ways that end the
server (24.10: arrays nested 100,000 deep, a million chunks); only its health is asked there.
"""

import resource
import secrets
import shutil
from collections.abc import Iterable
from pathlib import Path

__all__ = ["allow_many_connections", "closed_doors", "only_models"]

_MOST_FILES = 65_536
_NOT_BY_GRPC = ("shared-memory", "trace", "logging")
_NOT_BY_HTTP = (*_NOT_BY_GRPC, "metadata", "inference", "model-config", "model-repository", "statistics")


def closed_doors() -> dict[str, str]:
    """Options of the server; what they close opens to a word that nobody is told."""
    word = secrets.token_urlsafe()
    return {
        "grpc-restricted-protocol": f"{','.join(_NOT_BY_GRPC)}:tritone={word}",
        "http-restricted-api": f"{','.join(_NOT_BY_HTTP)}:tritone={word}",
    }


def only_models(repository: Path, names: Iterable[str], folder: Path) -> Path:
    """A repository of these models alone, as links: who loads all of it need not be told what to load."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for name in names:
        (folder / name).symlink_to((repository / name).resolve())
    return folder


def allow_many_connections() -> None:
    """As many files as may be had: of the usual 1,024, idle connections would leave none for others."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = _MOST_FILES if hard == resource.RLIM_INFINITY else min(hard, _MOST_FILES)
    if soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
