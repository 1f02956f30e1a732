"""A TensorRT engine of a step, in the place of the program that it was compiled from.

It reads and writes the same tensors on the GPU, and can be recorded as part of a CUDA graph. Shapes beyond
its profiles are left to the program.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tritone_runtime.manifests import ENGINE_FILE

__all__ = ["EngineStep", "with_engine"]

Program = Callable[..., Sequence[Tensor]]
_LIBRARY = "tensorrt"
"""No dependency: it comes with the machine that compiled the engine."""


class EngineStep:
    """The engine in a model's version folder. Each of its profiles has a context, set up once.

    Args:
        plan: the engine file.
        program: runs the shapes that no profile holds.
        outputs: names of the outputs, in the program's order.

    Raises:
        ImportError: TensorRT is not installed.
        RuntimeError: the engine was built by another TensorRT or for another GPU.
    """

    def __init__(self, plan: Path, program: Program, outputs: Sequence[str]):
        trt = import_module(_LIBRARY)
        self._program, self._outputs = program, outputs
        self._runtime = trt.Runtime(trt.Logger(trt.Logger.ERROR))  # it must outlive the engine
        self._engine: Any = self._runtime.deserialize_cuda_engine(plan.read_bytes())
        if self._engine is None:
            raise RuntimeError(f"TensorRT {trt.__version__} does not load {plan} on this GPU")
        names = [self._engine.get_tensor_name(number) for number in range(self._engine.num_io_tensors)]
        self._inputs = [
            name for name in names if self._engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT
        ]
        self._types = {
            trt.DataType.HALF: torch.float16,
            trt.DataType.FLOAT: torch.float32,
            trt.DataType.INT64: torch.int64,
            trt.DataType.BOOL: torch.bool,
        }
        self._contexts = [self._context(number) for number in range(self._engine.num_optimization_profiles)]

    def __call__(self, *inputs: Tensor) -> Sequence[Tensor]:
        """The outputs of a step, in the program's order."""
        given = dict(zip(self._inputs, inputs, strict=True))
        number = self._profile(given)
        return self._program(*inputs) if number is None else self._run(self._contexts[number], given)

    def _context(self, profile: int) -> Any:
        context = self._engine.create_execution_context()
        context.set_optimization_profile_async(profile, torch.cuda.current_stream().cuda_stream)
        torch.cuda.current_stream().synchronize()
        return context

    def _run(self, context: Any, given: Mapping[str, Tensor]) -> list[Tensor]:
        for name, tensor in given.items():
            context.set_input_shape(name, tuple(tensor.shape))
            context.set_tensor_address(name, tensor.data_ptr())
        made = []
        for name in self._outputs:
            dtype = self._types[self._engine.get_tensor_dtype(name)]
            made.append(torch.empty(tuple(context.get_tensor_shape(name)), dtype=dtype, device="cuda"))
            context.set_tensor_address(name, made[-1].data_ptr())
        if not context.execute_async_v3(torch.cuda.current_stream().cuda_stream):
            raise RuntimeError("TensorRT could not run the engine; its messages above say why")
        return made

    def _profile(self, given: Mapping[str, Tensor]) -> int | None:
        """The profile that holds these shapes."""
        for number in range(len(self._contexts)):
            if all(self._holds(number, name, tensor) for name, tensor in given.items()):
                return number
        return None

    def _holds(self, profile: int, name: str, tensor: Tensor) -> bool:
        least, _, most = self._engine.get_tensor_profile_shape(name, profile)
        return all(a <= size <= b for a, size, b in zip(least, tensor.shape, most, strict=True))


def with_engine(
    version: Path, facts: Mapping[str, str], program: Program, log: Callable[[str], None]
) -> Program:
    """The engine beside a program, if there is one that this machine can run; otherwise the program."""
    plan = version / ENGINE_FILE
    if not plan.exists():
        return program
    try:
        engine = EngineStep(plan, program, list(json.loads(facts["outputs"])))
    except (ImportError, RuntimeError) as error:
        log(f"{version.parent.name} runs on PyTorch, without its engine: {error}")
        return program
    log(f"{version.parent.name} runs on its TensorRT engine")
    return engine
