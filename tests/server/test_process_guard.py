"""The process of a model ends where Triton has given it up."""

import os
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from tritone_server.backend import process_guard
from tritone_server.backend.process_guard import ProcessGuard, TritonQueue

CONTROL, QUEUE, REGION_BYTES = 336, 496, 1 << 16


def region(folder: Path, head: int, tail: int, size: int = 1000, buffer: int = QUEUE + 160) -> list[str]:
    """Shared memory as Triton 24.10 lays it out, and the arguments of a process that has it."""
    memory = bytearray(REGION_BYTES)
    struct.pack_into("=q", memory, CONTROL + 16 + 88, QUEUE)
    struct.pack_into("=qqii", memory, QUEUE + 16 + 104, size, buffer, head, tail)
    (folder / "region").write_bytes(memory)
    return ["stub", "model.py", "region", "1048576", "1048576", "1", "folder", str(CONTROL), "name"]


def set_head(folder: Path, head: int) -> None:
    with (folder / "region").open("r+b") as file:
        file.seek(QUEUE + 16 + 120)
        file.write(struct.pack("=i", head))


def test_a_message_while_a_batch_is_worked_on_ends_the_process(tmp_path: Path) -> None:
    ended: list[int] = []
    guard = ProcessGuard("model", os.getppid(), TritonQueue(region(tmp_path, 7, 7), tmp_path), ended.append)
    guard.end_if_given_up()
    assert ended == []
    set_head(tmp_path, 8)
    guard.end_if_given_up()
    assert ended == [1]
    guard.close()


def test_without_a_queue_nothing_ends(tmp_path: Path) -> None:
    guard = ProcessGuard("model", os.getppid(), None, lambda _: pytest.fail("it ended"))
    guard.end_if_given_up()
    guard.close()


def test_a_process_whose_gpu_has_failed_ends() -> None:
    ended: list[int] = []
    guard = ProcessGuard("model", os.getppid(), None, ended.append)
    guard.end_if_broken(broken=False)
    assert ended == []
    guard.end_if_broken(broken=True)
    assert ended == [1]
    guard.close()


@pytest.mark.parametrize("wrong", [{"size": 5}, {"head": -1}, {"tail": 1000}, {"buffer": QUEUE}])
def test_another_layout_is_refused(wrong: dict[str, int], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="has an unexpected layout"):
        TritonQueue(region(tmp_path, **({"head": 7, "tail": 7} | wrong)), tmp_path)


@pytest.mark.parametrize("arguments", [[], ["stub", "model.py", "none", "1", "1", "1", "folder", "336"]])
def test_a_process_that_triton_did_not_start_has_no_queue(arguments: list[str], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no message queue of Triton's Python backend"):
        TritonQueue(arguments, tmp_path)


def test_a_process_whose_server_has_ended_ends() -> None:
    """A program stands for the server: it starts the process of a model and ends at once."""
    model = (
        "import sys; from tritone_server.backend.process_guard import ProcessGuard; "
        "ProcessGuard('model', int(sys.argv[1]), None)._thread.join()"
    )
    server = f"import os, subprocess as s, sys; s.Popen([sys.executable, '-c', {model!r}, str(os.getpid())])"
    path = str(Path(process_guard.__file__).parents[2])
    done = subprocess.run(
        [sys.executable, "-c", server],
        env={"PYTHONPATH": path},
        stderr=subprocess.PIPE,
        text=True,
        check=True,
    )  # until the model's process, too, has let go of stderr
    assert (
        done.stderr == "model model: the server has ended without ending this process, so the process ends\n"
    )
