"""What killed servers left behind: processes of models, and shared memory, 1 MB and more for each model."""

import os
import time
from contextlib import suppress
from pathlib import Path

import psutil

__all__ = ["end_orphans", "remove_leftovers"]

_PATTERN, _FRESH_S = "triton_*_backend_shm_region_*", 60.0
_STUB, _SERVER = "triton_python_backend_stub", 5
"""The program in which a model runs, and which of its arguments is the process id of its server."""


def end_orphans() -> int:
    """End this user's processes of models whose server has ended without them; how many there were."""
    ended = 0
    for process in psutil.process_iter(["cmdline", "ppid", "uids"]):
        command, owner = process.info["cmdline"] or [""], process.info["uids"]
        if Path(command[0]).name != _STUB or owner is None or owner.real != os.getuid():
            continue
        if len(command) <= _SERVER:  # it is just beginning or ending
            continue
        if command[_SERVER] != str(process.info["ppid"]):
            with suppress(psutil.NoSuchProcess):
                process.kill()
                ended += 1
    return ended


def remove_leftovers(folder: Path = Path("/dev/shm"), processes: Path = Path("/proc")) -> int:  # noqa: S108
    """Remove this user's regions that no process has mapped any more; how many there were.

    Fresh ones stay: their server may be about to map them.
    """
    oldest = time.time() - _FRESH_S
    regions = [path for path in folder.glob(_PATTERN) if _left_by_us(path, oldest)]
    if not regions:
        return 0
    mapped = _mapped(folder, processes)
    unused = [path for path in regions if str(path) not in mapped]
    for path in unused:
        path.unlink(missing_ok=True)
    return len(unused)


def _left_by_us(path: Path, oldest: float) -> bool:
    with suppress(FileNotFoundError):
        found = path.stat()
        return found.st_uid == os.getuid() and found.st_mtime < oldest
    return False


def _mapped(folder: Path, processes: Path) -> set[str]:
    """Files of the folder that are in the memory of a process that may be looked at: all of this user's."""
    found = set()
    for maps in processes.glob("[0-9]*/maps"):
        with suppress(OSError):  # it ended just now, or is somebody else's
            lines = maps.read_text(errors="replace").splitlines()
            found |= {line[line.index(str(folder)) :] for line in lines if str(folder) in line}
    return found
