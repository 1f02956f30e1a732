"""The GPU of this machine, as its driver describes it."""

import subprocess
from dataclasses import dataclass
from typing import TypeAlias

from tritone_runtime.errors import NoGpuError

__all__ = ["Capability", "Gpu", "gpu_here"]

Capability: TypeAlias = tuple[int, int]
"""Compute capability: (8, 9) is Ada."""
_FACTS = "name,compute_cap,memory.total,driver_version"


@dataclass(frozen=True)
class Gpu:
    """A GPU.

    Attributes:
        name: its product name, such as ``NVIDIA L4``.
        capability: its compute capability.
        memory_bytes: all of its memory.
        driver: version of the driver.
    """

    name: str
    capability: Capability
    memory_bytes: int
    driver: str


def gpu_here() -> Gpu:
    """The first GPU of this machine.

    Raises:
        NoGpuError: nvidia-smi finds no GPU.
    """
    command = ["nvidia-smi", f"--query-gpu={_FACTS}", "--format=csv,noheader,nounits"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, check=True, timeout=30).stdout
        name, capability, mebibytes, driver = (each.strip() for each in answer.splitlines()[0].split(","))
        major, minor = capability.split(".")
        return Gpu(name, (int(major), int(minor)), int(mebibytes) << 20, driver)
    except (OSError, subprocess.SubprocessError, IndexError, ValueError) as error:
        raise NoGpuError(
            "this machine has no NVIDIA GPU that nvidia-smi knows; TensorRT needs the one it builds for, "
            "TensorRT-RTX does not (--compiler tensorrt_rtx)"
        ) from error
