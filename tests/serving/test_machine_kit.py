"""What the machine does to a server is survived or said, never served as wrong sound."""

import errno
import os
from pathlib import Path

import pytest

import fault_machine
from fault_streams import spoken_by
from tritone_build.files import written_whole
from tritonserver import TritonServer

NAMES = ["small_nanocodec", "small_mimi"]


def test_no_memory_a_full_disk_damage_and_a_set_clock_cost_nobody_a_sample(server: TritonServer) -> None:
    spoken = {name: spoken_by(name, server.url) for name in NAMES}
    rows = {row.check: row for row in fault_machine.machine_rows(server, spoken, 1)}
    not_everywhere = {"clock_lost", "disk_full"}  # libfaketime, and a mount of one's own
    assert set(rows) - not_everywhere == {"memory_lost", "damage_served"}
    for row in rows.values():
        assert row.ok, row


def write_half(path: Path) -> None:
    with written_whole(path) as partial:
        partial.write_text("half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_full_disk_is_named_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(OSError, match=r"No space left on device for .*\.onnx \(\d+ MB are free\)") as told:
        write_half(tmp_path / "model.onnx")
    assert told.value.errno == errno.ENOSPC
    assert list(tmp_path.iterdir()) == []
