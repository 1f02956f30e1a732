"""The server's endpoints that clients may not use.

By default Triton also lets clients unload models, load their own models (which may be Python code), write to
the machine's shared memory and change where traces are sent. Some HTTP requests end the server while it
parses them (24.10: arrays nested 100,000 deep, or a million chunks), so HTTP answers health checks only.
"""

import resource
import secrets
import shutil
from collections.abc import Iterable
from pathlib import Path

__all__ = ["allow_many_connections", "endpoint_restrictions", "only_models"]

_MAX_FILES = 65_536
_RESTRICTED_GRPC = ("shared-memory", "trace", "logging")
_RESTRICTED_HTTP = (
    *_RESTRICTED_GRPC,
    "metadata",
    "inference",
    "model-config",
    "model-repository",
    "statistics",
)


def endpoint_restrictions() -> dict[str, str]:
    """Server options that restrict endpoints to requests with a secret header, which no client is given."""
    secret = secrets.token_urlsafe()
    return {
        "grpc-restricted-protocol": f"{','.join(_RESTRICTED_GRPC)}:tritone={secret}",
        "http-restricted-api": f"{','.join(_RESTRICTED_HTTP)}:tritone={secret}",
    }


def only_models(models: Iterable[Path], folder: Path) -> Path:
    """Make a repository of links to these folders of models, so that Triton can load the whole repository."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for model in models:
        (folder / model.name).symlink_to(model.resolve())
    return folder


def allow_many_connections() -> None:
    """Raise this process's limit of open files: idle connections could use up the usual 1,024."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = _MAX_FILES if hard == resource.RLIM_INFINITY else min(hard, _MAX_FILES)
    if soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
