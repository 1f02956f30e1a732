"""Memory in huge pages, which the weights of a model want and what else a process keeps does not."""

import ctypes
import mmap
from pathlib import Path

__all__ = ["keep_page_sizes"]

_MAPS = Path("/proc/self/maps")
_madvise = ctypes.CDLL(None).madvise
_madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]


def keep_page_sizes() -> None:
    """Keep the pages that this process has now as they are, huge or small; new memory may get huge ones.

    Otherwise the kernel (khugepaged) goes on, minutes later and in a model that nobody uses, to fill the gaps
    between small allocations up to whole huge pages. Where it has none, nothing happens.
    """
    for line in _MAPS.read_text().splitlines():
        bounds, access, _, _, inode, *_ = line.split()
        if access == "rw-p" and inode == "0":
            start, end = (int(bound, 16) for bound in bounds.split("-"))
            _madvise(start, end - start, mmap.MADV_NOHUGEPAGE)
