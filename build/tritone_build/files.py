"""Files that are there whole or not at all."""

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["written_whole"]


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """A file to write, which takes its name when all went well and is gone when not.

    Raises:
        OSError: it cannot be written; a full disk is named with what is to be done.
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
            f"{os.strerror(errno.ENOSPC)} for {path} ({free_mb} MB are free); nothing half is left: make "
            "room, or choose another folder",
        ) from error
    finally:
        partial.unlink(missing_ok=True)
