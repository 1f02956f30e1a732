"""Slots that processes share: each number has one owner, and those of a process that ends are free again."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from helpers.summing import step, summing

from tritone_runtime.errors import FullError
from tritone_runtime.streams.events import EventLog
from tritone_runtime.streams.scheduler import Limits, StreamScheduler
from tritone_runtime.streams.shared_slots import SharedFreeSlots


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "slots"


@contextmanager
def another_process(
    file: Path, count: int, takes: int
) -> Iterator[tuple["subprocess.Popen[str]", list[int]]]:
    """A process that has taken some of ``count`` slots, and their numbers. It waits for a line of input."""
    program = f"""if True:
        from pathlib import Path
        from tritone_runtime.streams.shared_slots import SharedFreeSlots
        slots = SharedFreeSlots(Path({str(file)!r}), {count})
        print(*(slots.take() for _ in range({takes})), flush=True)
        input()
    """
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        try:
            yield process, [int(word) for word in process.stdout.readline().split()]
        finally:
            process.kill()


def test_processes_take_different_slots_until_all_are_taken(file: Path) -> None:
    slots = SharedFreeSlots(file, 4)
    ours = [slots.take()]
    with another_process(file, 4, takes=2) as (_, theirs):
        ours.append(slots.take())
        assert sorted([*ours, *theirs]) == [0, 1, 2, 3]  # type: ignore[type-var]
        assert slots.take() is None
        assert isinstance(ours[0], int)
        slots.give_back(ours[0])
        assert slots.take() == ours[0]
        assert slots.take() is None


def test_a_process_that_is_killed_gives_its_slots_back(file: Path) -> None:
    slots = SharedFreeSlots(file, 3)
    with another_process(file, 3, takes=3) as (process, theirs):
        assert sorted(theirs) == [0, 1, 2]
        assert slots.take() is None
        process.kill()
        process.wait()
        assert [slots.take() for _ in range(4)] == [0, 1, 2, None]


def test_a_slot_that_was_given_back_is_free_for_another_process(file: Path) -> None:
    slots = SharedFreeSlots(file, 2)
    assert [slots.take(), slots.take()] == [0, 1]
    slots.give_back(1)
    with another_process(file, 2, takes=1) as (_, theirs):
        assert theirs == [1]


def test_the_file_stays_empty(file: Path) -> None:
    assert SharedFreeSlots(file, 9).take() is not None
    assert file.stat().st_size == 0


def test_schedulers_of_two_processes_refuse_together(file: Path, tmp_path: Path) -> None:
    streams = StreamScheduler(
        summing(tmp_path), "tokens", "audio", Limits(streams=3, idle_s=5, shared=file), EventLog("small")
    )
    with another_process(file, 3, takes=2) as (process, _):
        kept, refused = streams.run([step(1, [1, 2], start=True), step(2, [5], start=True)])
        assert isinstance(kept, np.ndarray)
        assert kept[0].tolist() == [1, 3]
        assert isinstance(refused, FullError)
        assert "the server is full: 3 of 3 streams are live" in str(refused)
        process.kill()
        process.wait()
        first, second = streams.run([step(1, [1]), step(2, [5], start=True)])
    assert isinstance(first, np.ndarray)
    assert isinstance(second, np.ndarray)
    assert (first[0].tolist(), second[0].tolist()) == ([4], [5])
    assert (streams.live, streams.counters.refused) == (2, 1)
