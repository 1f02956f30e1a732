"""What the machine does to a server is survived or said, never served as wrong sound.

A full disk, a damaged file and a set clock under live streams are injected by ``make faults``.
"""

import errno
import os
import resource
from contextlib import suppress
from pathlib import Path

import numpy as np
import psutil
import pytest

from scripts.faults import machine as fault_machine
from tritone_build.files import atomic_write
from tritone_client import Codec, ServerRefusedError
from tritone_runtime.fidelity import snr_db
from tritone_server.launcher import TritonServer


def test_a_request_too_large_for_the_memory_left_is_refused_or_right_and_so_is_the_next(
    server: TritonServer,
) -> None:
    with Codec("small_mimi", server.url) as codec:
        tokens = np.random.default_rng(0).integers(0, 128, (8, 40))
        much, whole = np.tile(tokens, (1, 4)), codec.decode(tokens)
        with fault_machine._little_memory(server, "small_mimi_vocoder"), suppress(ServerRefusedError):
            assert fault_machine._begins_with(codec.decode(much), whole)
        assert snr_db(whole, codec.decode(tokens)) > 115
    for process in psutil.Process(server.pid).children(recursive=True):
        assert process.rlimit(resource.RLIMIT_AS)[0] == resource.RLIM_INFINITY


def test_sound_that_begins_otherwise_counts_as_wrong() -> None:
    whole = np.linspace(-1, 1, 50, dtype=np.float32)
    assert fault_machine._begins_with(np.append(whole, whole), whole)
    assert not fault_machine._begins_with(whole[:-1], whole)
    assert not fault_machine._begins_with(whole + np.float32(1e-3), whole)


def write_half(path: Path) -> None:
    with atomic_write(path) as partial:
        partial.write_text("half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_full_disk_is_named_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(OSError, match=r"No space left on device for .*\.onnx \(\d+ MB are free\)") as told:
        write_half(tmp_path / "model.onnx")
    assert told.value.errno == errno.ENOSPC
    assert list(tmp_path.iterdir()) == []
