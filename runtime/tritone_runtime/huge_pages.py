"""Huge pages: good for the weights of a model, a waste for the small allocations of a process."""

import ctypes
import mmap
from pathlib import Path

__all__ = ["keep_page_sizes"]

_MAPS = Path("/proc/self/maps")
_madvise = ctypes.CDLL(None).madvise
_madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]


def keep_page_sizes() -> None:
    """Keep the present pages of this process as they are, huge or small; new memory may get huge pages.

    Otherwise the kernel (khugepaged) fills the gaps between small allocations up to huge pages, minutes later
    and even if nobody uses the model. On a kernel without huge pages this has no effect.
    """
    for line in _MAPS.read_text().splitlines():
        bounds, access, _, _, inode, *_ = line.split()
        if access == "rw-p" and inode == "0":
            start, end = (int(bound, 16) for bound in bounds.split("-"))
            _madvise(start, end - start, mmap.MADV_NOHUGEPAGE)
