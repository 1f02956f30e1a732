"""What killed servers left in shared memory goes, what is in use stays."""

import mmap
import os
import subprocess
from pathlib import Path

from tritone_server.stale import end_orphans, remove_stale_regions


def region(folder: Path, name: str, age_s: float) -> Path:
    path = folder / f"triton_onnxruntime_backend_shm_region_{name}"
    path.write_bytes(bytes(mmap.PAGESIZE))
    os.utime(path, (path.stat().st_atime - age_s,) * 2)
    return path


def test_only_old_regions_that_nobody_has_mapped_are_removed(tmp_path: Path) -> None:
    left, used, fresh = (region(tmp_path, *each) for each in (("left", 100), ("used", 100), ("fresh", 0)))
    foreign = tmp_path / "something_else"
    foreign.touch()
    with used.open("r+b") as file, mmap.mmap(file.fileno(), 0):
        assert remove_stale_regions(tmp_path) == 1
    assert not left.exists()
    assert all(path.exists() for path in (used, fresh, foreign))


def test_a_process_whose_arguments_are_not_there_yet_is_no_orphan(tmp_path: Path) -> None:
    stub = tmp_path / "triton_python_backend_stub"
    stub.symlink_to("/bin/sleep")
    with subprocess.Popen([stub, "1000"]) as process:
        try:
            end_orphans()
            assert process.poll() is None
        finally:
            process.kill()
