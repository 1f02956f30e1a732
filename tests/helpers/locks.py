"""Locks among the processes that run tests, for what they build once for all."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager

from tritone_server.cache import CACHE

__all__ = ["locked"]


@contextmanager
def locked(name: str) -> Iterator[None]:
    """No other process of the tests is within a lock of the same name."""
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / f"{name}.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
