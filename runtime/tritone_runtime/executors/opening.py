"""Opens a built model with the executor for its file."""

from collections.abc import Callable
from pathlib import Path

from tritone_runtime.executors.interface import Executor
from tritone_runtime.executors.onnx_runtime import OnnxExecutor
from tritone_runtime.fit import check_device
from tritone_runtime.manifests import ONNX_FILE, PROGRAM_FILE

__all__ = ["open_executor"]


def open_executor(version: Path, intra_op_threads: int, device: str, log: Callable[[str], None]) -> Executor:
    """The executor of a model.

    Args:
        version: the model's version folder, with a graph for the CPU or a program for a GPU.
        intra_op_threads: number of threads on the CPU; 0 for one per core.
        device: ``auto``, ``cpu`` or ``cuda``; ``auto`` is the device that the model was built for.
        log: called with one line on what an operator should know.

    Raises:
        DeviceError: the model was not built for that device, or the device is missing.
    """
    program = version / PROGRAM_FILE
    if not program.exists():
        check_device(version.parents[1], [version.parent.name], device)
        return OnnxExecutor(version / ONNX_FILE, intra_op_threads)
    # PyTorch takes seconds to import, and repositories for the CPU do not need it.
    from tritone_runtime.executors.torch import TorchExecutor

    return TorchExecutor(program, device, log)
