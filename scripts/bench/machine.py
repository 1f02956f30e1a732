"""Peak arithmetic and memory bandwidth of this machine, measured in the same run as the codecs."""

import statistics

import torch

from scripts.bench.timing import interleaved_ms
from scripts.common.report import Row

__all__ = ["machine_rows"]

_SIDE, _FLOATS, _ROUNDS = 2048, 1 << 26, 15


def machine_rows(threads: int) -> list[Row]:
    """Speed of matrix products, of reading memory and of copying it, in FP32; without a target."""
    matrix, source = torch.rand(_SIDE, _SIDE), torch.rand(_FLOATS)
    target = torch.empty_like(source)
    timed = interleaved_ms([lambda: matrix @ matrix, source.sum, lambda: target.copy_(source)], _ROUNDS)
    products, sums, copies = timed
    gflops = 2 * _SIDE**3 / statistics.median(products) / 1e6
    read, copied = (4 * _FLOATS / statistics.median(each) / 1e6 for each in (sums, copies))
    return [
        Row("machine", "sgemm", gflops, "GFLOP/s", "none", True, f"{_SIDE}^3, {threads} threads, PyTorch"),
        Row("machine", "read", read, "GB/s", "none", True, f"sum of 256 MiB, {threads} threads, PyTorch"),
        Row("machine", "copy", copied, "GB/s", "none", True, f"of 256 MiB, {threads} threads, PyTorch"),
    ]
