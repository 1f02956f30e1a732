"""Atomic writing of files."""

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["atomic_write"]


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Yield a temporary path to write to; it becomes ``path`` on success and is deleted on an error.

    Raises:
        OSError: the file cannot be written; if the disk is full, the message says what to do.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    try:
        yield partial
        partial.rename(path)
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        free_mb = shutil.disk_usage(path.parent).free >> 20
        raise OSError(
            errno.ENOSPC,
            f"{os.strerror(errno.ENOSPC)} for {path} ({free_mb} MB are free); no partial file is left. "
            "Free some space, or choose another folder",
        ) from error
    finally:
        partial.unlink(missing_ok=True)
