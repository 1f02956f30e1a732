"""Triton's ``onnxruntime`` backend for servers that lack the native one: a Python-based backend.

Models say ``backend: "onnxruntime"`` and hold a ``model.onnx``, exactly as for the native backend.
The requests Triton passes are answered one by one, so a bad one fails alone.

Arrays cross by DLPack, both ways. Triton 24.10's own NumPy conversions were compiled for NumPy 1: with
NumPy 2 they take every element size for zero, so inputs repeat their first element and outputs are empty.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils
from numpy.typing import NDArray

from runner import BadInputError, Runner

_CPU = 1  # DLPack's kDLCPU


class TritonPythonModel:
    """One instance of one model."""

    def initialize(self, args: dict[str, Any]) -> None:
        """Load the model; a failure here is what the server reports for it."""
        config = json.loads(args["model_config"])
        parameters = config.get("parameters", {})
        threads = int(parameters.get("intra_op_thread_count", {}).get("string_value", "0"))
        name = config.get("default_model_filename") or "model.onnx"
        self.runner = Runner(Path(args["model_repository"], args["model_version"], name), threads)
        self.inputs = [tensor["name"] for tensor in config["input"]]

    def execute(self, requests: list[Any]) -> list[Any]:
        """Answer each request with its outputs or its error."""
        return [self._answer(request) for request in requests]

    def _answer(self, request: Any) -> Any:
        try:
            wanted = request.requested_output_names()
            results = self.runner.run({name: _array(request, name) for name in self.inputs}, wanted)
        except BadInputError as error:
            return _failure(str(error), pb_utils.TritonError.INVALID_ARG)
        except Exception as error:
            return _failure(f"the model failed: {error}", pb_utils.TritonError.INTERNAL)
        # A capsule, not the array: handed the array, the server takes 0.3 ms to ask for its capsule.
        tensors = [
            pb_utils.Tensor.from_dlpack(name, _exported(array))
            for name, array in zip(wanted, results, strict=True)
        ]
        return pb_utils.InferenceResponse(output_tensors=tensors)


def _exported(array: Any) -> Any:
    return array.__dlpack__()


class _Capsule:
    """A tensor of the server as NumPy wants to be given it; the server's own knows too few arguments."""

    def __init__(self, tensor: Any):
        self._capsule = tensor.to_dlpack()

    def __dlpack__(self, **_: Any) -> Any:
        return self._capsule

    def __dlpack_device__(self) -> tuple[int, int]:
        return _CPU, 0


def _array(request: Any, name: str) -> NDArray[np.generic]:
    array: NDArray[np.generic] = np.from_dlpack(_Capsule(pb_utils.get_input_tensor_by_name(request, name)))
    return array


def _failure(message: str, code: int) -> Any:
    return pb_utils.InferenceResponse(error=pb_utils.TritonError(message, code))
