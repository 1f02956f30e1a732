"""Slots that several processes of one model share, so that all of them together keep to its limit."""

import fcntl
from itertools import chain
from pathlib import Path

from tritone_runtime.streams.slots import FreeSlots

__all__ = ["SharedFreeSlots"]


class SharedFreeSlots(FreeSlots):
    """Numbers of free slots. Each number belongs to one process at a time.

    Every process has memory for every slot, because all streams may be in one process; memory of a slot that
    was never used costs nothing. A process has slot ``n`` while it holds the lock on byte ``n`` of the file.
    The kernel releases the locks of a process that ends, however it ends (fcntl(2), advisory record locks).
    So no number is lost, and the file stays empty.

    Args:
        file: the file, created if it is missing. Its locks would be lost if this process opened and closed
            it a second time.
        count: most live streams of all processes together.
    """

    def __init__(self, file: Path, count: int):
        super().__init__(0)
        self._file, self._count = file.open("ab"), count
        self._held: set[int] = set()
        self._next = 0

    def take(self) -> int | None:
        """Take a free number; None if this and the other processes have all of them.

        The search begins behind the number that it found last, where a free one is likely. It looks at one
        number after the other, so it may miss one that another process frees and takes again meanwhile.
        """
        for slot in chain(range(self._next, self._count), range(self._next)):
            if slot not in self._held and self._lock(slot):
                self._held.add(slot)
                self._next = slot + 1
                return slot
        return None

    def give_back(self, slot: int) -> None:
        """Free a number for every process."""
        self._held.remove(slot)
        fcntl.lockf(self._file, fcntl.LOCK_UN, 1, slot)

    def _lock(self, slot: int) -> bool:
        try:
            fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, slot)
        except (BlockingIOError, PermissionError):  # EAGAIN or EACCES: another process has it
            return False
        return True
