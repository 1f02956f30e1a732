"""One interface for running a model with ONNX Runtime or TensorRT.

Tensors stay on the device. A runtime that cannot run on this machine raises :class:`MissingRuntimeError`.
"""

from collections.abc import Mapping
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Protocol, TypeAlias

import onnxruntime
import torch
from torch import Tensor
from torch.utils.dlpack import from_dlpack

from tritone_runtime.manifests import ENGINE_FILE, ONNX_FILE

__all__ = ["MissingRuntimeError", "OnnxRuntime", "Runtime", "TensorRt"]

Tensors: TypeAlias = Mapping[str, Tensor]

_PROVIDERS = {"cuda": "CUDAExecutionProvider", "cpu": "CPUExecutionProvider"}


class MissingRuntimeError(RuntimeError):
    """A library is not installed, or there is no GPU for it; the message says which."""


class Runtime(Protocol):
    """A loaded model."""

    def __call__(self, inputs: Tensors) -> Tensors:
        """Run the model on inputs by name; outputs by name, valid until the next call."""


class OnnxRuntime:
    """The ONNX graph in a model's version folder, on the provider for ``cuda`` or ``cpu``."""

    @staticmethod
    def refuse_missing(device: str) -> None:
        """Raise MissingRuntimeError if ONNX Runtime has no provider for the device."""
        if _PROVIDERS[device] not in onnxruntime.get_available_providers():
            raise MissingRuntimeError("ONNX Runtime has no CUDA provider here; pip install onnxruntime-gpu")

    def __init__(self, version: Path, device: str):
        if device == "cuda":
            onnxruntime.preload_dlls()
        options = onnxruntime.SessionOptions()
        options.enable_mem_pattern = False
        providers = [_PROVIDERS[device], _PROVIDERS["cpu"]]
        self._session = onnxruntime.InferenceSession(version / ONNX_FILE, options, providers=providers)
        if self._session.get_providers()[0] != _PROVIDERS[device]:
            raise MissingRuntimeError(
                "ONNX Runtime's CUDA provider does not load here; its log above says why"
            )
        self._device = device

    def __call__(self, inputs: Tensors) -> Tensors:
        """See :class:`Runtime`."""
        binding = self._session.io_binding()
        for name, tensor in inputs.items():
            value = onnxruntime.OrtValue.from_dlpack(tensor.contiguous().__dlpack__())
            binding.bind_ortvalue_input(name, value)
        names = [output.name for output in self._session.get_outputs()]
        for name in names:
            binding.bind_output(name, self._device)
        self._session.run_with_iobinding(binding)
        values = binding.get_outputs()
        return {name: from_dlpack(value) for name, value in zip(names, values, strict=True)}


class TensorRt:
    """The engine in a model's version folder."""

    @staticmethod
    def refuse_missing(device: str) -> None:
        """Raise MissingRuntimeError if there is no TensorRT, or no GPU for it."""
        if find_spec("tensorrt") is None:
            raise MissingRuntimeError("TensorRT is not installed")
        if device != "cuda":
            raise MissingRuntimeError("TensorRT runs engines on a GPU only")

    def __init__(self, version: Path, device: str):
        self.refuse_missing(device)
        self._trt = import_module("tensorrt")
        self._runtime = self._trt.Runtime(self._trt.Logger(self._trt.Logger.ERROR))
        self._engine = self._runtime.deserialize_cuda_engine((version / ENGINE_FILE).read_bytes())
        if self._engine is None:
            raise MissingRuntimeError(f"TensorRT does not load {version / ENGINE_FILE} on this GPU")
        self._context = self._engine.create_execution_context()
        names = [self._engine.get_tensor_name(number) for number in range(self._engine.num_io_tensors)]
        output = self._trt.TensorIOMode.OUTPUT
        self._outputs = [name for name in names if self._engine.get_tensor_mode(name) == output]
        self._types = {
            self._trt.DataType.HALF: torch.float16,
            self._trt.DataType.FLOAT: torch.float32,
            self._trt.DataType.INT64: torch.int64,
        }

    def __call__(self, inputs: Tensors) -> Tensors:
        """See :class:`Runtime`."""
        stream = torch.cuda.current_stream().cuda_stream
        held = {name: tensor.contiguous() for name, tensor in inputs.items()}
        self._context.set_optimization_profile_async(self._profile(held), stream)
        for name, tensor in held.items():
            self._context.set_input_shape(name, tuple(tensor.shape))
            self._context.set_tensor_address(name, tensor.data_ptr())
        made = {name: self._allocate(name) for name in self._outputs}
        for name, tensor in made.items():
            self._context.set_tensor_address(name, tensor.data_ptr())
        if not self._context.execute_async_v3(stream):
            raise RuntimeError("TensorRT could not run the engine; its log above says why")
        return made

    def _allocate(self, name: str) -> Tensor:
        shape = tuple(self._context.get_tensor_shape(name))
        return torch.empty(shape, dtype=self._types[self._engine.get_tensor_dtype(name)], device="cuda")

    def _profile(self, inputs: Tensors) -> int:
        for number in range(self._engine.num_optimization_profiles):
            if all(self._holds(number, name, tensor) for name, tensor in inputs.items()):
                return number
        shapes = {name: list(tensor.shape) for name, tensor in inputs.items()}
        raise ValueError(f"no profile of the engine holds {shapes}")

    def _holds(self, number: int, name: str, tensor: Tensor) -> bool:
        least, _, most = self._engine.get_tensor_profile_shape(name, number)
        return all(a <= size <= b for a, size, b in zip(least, tensor.shape, most, strict=True))
