"""Remove what killed servers left behind: processes of models and shared memory, 1 MB or more per model."""

import os
import time
from contextlib import suppress
from pathlib import Path

import psutil

__all__ = ["end_orphans", "remove_stale_regions"]

_PATTERN, _MIN_AGE_S = "triton_*_backend_shm_region_*", 60.0
_STUB, _SERVER = "triton_python_backend_stub", 5
"""The program that runs a model, and the index of the argument that holds its server's process id."""


def end_orphans() -> int:
    """Kill this user's model processes whose server has ended; return how many were killed."""
    ended = 0
    for process in psutil.process_iter(["cmdline", "ppid", "uids"]):
        command, owner = process.info["cmdline"] or [""], process.info["uids"]
        if Path(command[0]).name != _STUB or owner is None or owner.real != os.getuid():
            continue
        if len(command) <= _SERVER:  # the process is starting or ending
            continue
        if command[_SERVER] != str(process.info["ppid"]):
            with suppress(psutil.NoSuchProcess):
                process.kill()
                ended += 1
    return ended


def remove_stale_regions(folder: Path = Path("/dev/shm"), processes: Path = Path("/proc")) -> int:  # noqa: S108
    """Remove this user's shared memory regions that no process maps; return how many were removed.

    Regions younger than a minute stay, since their server may be about to map them.
    """
    oldest = time.time() - _MIN_AGE_S
    regions = [path for path in folder.glob(_PATTERN) if _is_old_and_ours(path, oldest)]
    if not regions:
        return 0
    mapped = _mapped(folder, processes)
    unused = [path for path in regions if str(path) not in mapped]
    for path in unused:
        path.unlink(missing_ok=True)
    return len(unused)


def _is_old_and_ours(path: Path, oldest: float) -> bool:
    with suppress(FileNotFoundError):
        found = path.stat()
        return found.st_uid == os.getuid() and found.st_mtime < oldest
    return False


def _mapped(folder: Path, processes: Path) -> set[str]:
    """Files of the folder that a process maps, among the processes that this user may inspect."""
    found = set()
    for maps in processes.glob("[0-9]*/maps"):
        with suppress(OSError):  # the process has just ended or belongs to another user
            lines = maps.read_text(errors="replace").splitlines()
            found |= {line[line.index(str(folder)) :] for line in lines if str(folder) in line}
    return found
