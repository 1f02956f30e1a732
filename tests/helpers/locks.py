"""A pytest plugin: locks among the processes that run tests, for what they build once for all."""

import fcntl
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TypeAlias

import pytest

from tritone_server.cache import CACHE

__all__ = ["Locked", "locked"]

Locked: TypeAlias = Callable[[str], AbstractContextManager[None]]


@pytest.fixture(scope="session")
def locked() -> Locked:
    """A context manager within which no other process holds the lock of this name."""

    @contextmanager
    def hold(name: str) -> Iterator[None]:
        CACHE.mkdir(parents=True, exist_ok=True)
        with (CACHE / f"{name}.lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    return hold
