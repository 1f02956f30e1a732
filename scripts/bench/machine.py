"""What the machine can do at most, measured in the same run: figures in ms depend on it."""

import statistics

import torch

from scripts.bench.timing import interleaved_ms
from scripts.common.report import Row

__all__ = ["machine_rows"]

_SIDE, _NUMBERS, _ROUNDS = 2048, 1 << 26, 15


def machine_rows(threads: int) -> list[Row]:
    """Matrix products and reading from memory, in FP32, on this many threads; for information."""
    square, much = torch.rand(_SIDE, _SIDE), torch.rand(_NUMBERS)
    there = torch.empty_like(much)
    timed = interleaved_ms([lambda: square @ square, much.sum, lambda: there.copy_(much)], _ROUNDS)
    products, sums, copies = timed
    gflops = 2 * _SIDE**3 / statistics.median(products) / 1e6
    read, copied = (4 * _NUMBERS / statistics.median(each) / 1e6 for each in (sums, copies))
    return [
        Row("machine", "sgemm", gflops, "GFLOP/s", "none", True, f"{_SIDE}^3, {threads} threads, PyTorch"),
        Row("machine", "read", read, "GB/s", "none", True, f"sum of 256 MiB, {threads} threads, PyTorch"),
        Row("machine", "copy", copied, "GB/s", "none", True, f"of 256 MiB, {threads} threads, PyTorch"),
    ]
