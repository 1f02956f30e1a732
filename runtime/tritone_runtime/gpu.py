"""The GPU of this machine."""

import subprocess
from typing import TypeAlias

from tritone_runtime.errors import NoGpuError

__all__ = ["Capability", "capability_here"]

Capability: TypeAlias = tuple[int, int]
"""Compute capability: (8, 9) is Ada."""


def capability_here() -> Capability:
    """Compute capability of the first GPU.

    Raises:
        NoGpuError: nvidia-smi finds no GPU.
    """
    command = ["nvidia-smi", "--query-gpu=compute_cap", "--format=csv,noheader"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, check=True, timeout=30).stdout
        major, minor = answer.split()[0].split(".")
    except (OSError, subprocess.SubprocessError, IndexError, ValueError) as error:
        raise NoGpuError(
            "this machine has no NVIDIA GPU that nvidia-smi knows; TensorRT needs the one it builds for, "
            "TensorRT-RTX does not (--compiler tensorrt_rtx)"
        ) from error
    return int(major), int(minor)
