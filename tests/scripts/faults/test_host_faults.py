"""Faults of the machine are survived or reported, and never lead to wrong audio.

``make faults`` also injects a full disk, a damaged file and a set clock under live streams.
"""

import errno
import os
import resource
from contextlib import suppress
from pathlib import Path

import numpy as np
import psutil
import pytest

from scripts.faults import host_faults
from tritone_build.files import atomic_write
from tritone_client import Codec, ServerRefusedError
from tritone_runtime.fidelity import snr_db
from tritone_server.launcher import TritonServer


def test_a_request_too_large_for_the_memory_left_is_refused_or_right_and_so_is_the_next(
    server: TritonServer,
) -> None:
    with Codec("small_mimi", server.url) as codec:
        tokens = np.random.default_rng(0).integers(0, 128, (8, 40))
        long, whole = np.tile(tokens, (1, 4)), codec.decode(tokens)
        with host_faults._little_memory(server, "small_mimi_vocoder"), suppress(ServerRefusedError):
            assert host_faults._begins_with(codec.decode(long), whole)
        assert snr_db(whole, codec.decode(tokens)) > 115
    for process in psutil.Process(server.pid).children(recursive=True):
        assert process.rlimit(resource.RLIMIT_AS)[0] == resource.RLIM_INFINITY


def test_audio_that_starts_differently_counts_as_wrong() -> None:
    whole = np.linspace(-1, 1, 50, dtype=np.float32)
    assert host_faults._begins_with(np.append(whole, whole), whole)
    assert not host_faults._begins_with(whole[:-1], whole)
    assert not host_faults._begins_with(whole + np.float32(1e-3), whole)


def write_half(path: Path) -> None:
    with atomic_write(path) as partial:
        partial.write_text("half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_full_disk_is_named_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(OSError, match=r"No space left on device for .*\.onnx \(\d+ MB are free\)") as error:
        write_half(tmp_path / "model.onnx")
    assert error.value.errno == errno.ENOSPC
    assert list(tmp_path.iterdir()) == []
