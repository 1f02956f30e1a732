"""The two processes that run the tests: which files of tests each takes, and what they build once for all."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager

from xdist.scheduler import LoadFileScheduling

from tritone_server.cache import CACHE

__all__ = ["FileScheduling", "locked"]

_ARTIFACTS = ("tests/page/test_page.py", "tests/scripts/test_demo.py")
"""Files of tests that build into the folder artifacts of the clone."""


class FileScheduling(LoadFileScheduling):  # type: ignore[misc] # pytest-xdist has no types
    """Keeps each file in one process; another one would build and serve its models again."""

    def _split_scope(self, nodeid: str) -> str:
        file = str(super()._split_scope(nodeid))
        return "artifacts" if file in _ARTIFACTS else file


@contextmanager
def locked(name: str) -> Iterator[None]:
    """No other process of the tests is within a lock of the same name."""
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / f"{name}.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
