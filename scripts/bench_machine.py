"""What the machine can do at most, measured in the same run: figures in ms depend on it."""

import statistics

import torch

from bench_pairs import alternating
from report import Row

__all__ = ["machine_rows"]

_SIDE, _NUMBERS, _ROUNDS = 2048, 1 << 26, 15


def machine_rows(threads: int) -> list[Row]:
    """Matrix products and reading from memory, in FP32, on this many threads; for information."""
    square, much = torch.rand(_SIDE, _SIDE), torch.rand(_NUMBERS)
    products, sums = alternating([lambda: square @ square, much.sum], _ROUNDS)
    gflops = 2 * _SIDE**3 / statistics.median(products) / 1e6
    gbytes = 4 * _NUMBERS / statistics.median(sums) / 1e6
    return [
        Row("machine", "sgemm", gflops, "GFLOP/s", "none", True, f"{_SIDE}^3, {threads} threads, PyTorch"),
        Row("machine", "read", gbytes, "GB/s", "none", True, f"sum of 256 MiB, {threads} threads, PyTorch"),
    ]
