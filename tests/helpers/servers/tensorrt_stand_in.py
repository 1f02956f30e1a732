"""A stand-in for Triton's ``tensorrt`` backend, which runs the graph of an engine with ONNX Runtime.

Tests install it in a server's backend folder as ``tensorrt/model.py``, beside the packages of our backend.
It keeps implicit state as Triton does: zeros at START, then the state after the last step.
"""

import json
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

sys.path.insert(0, str(Path(__file__).parent))
tensors = import_module("tritone_server.backend.tensors")
limits = import_module("tritone_runtime.limits")
_START, _END = 1, 2


class TritonPythonModel:
    """One model."""

    def initialize(self, args: dict[str, Any]) -> None:
        config = json.loads(args["model_config"])
        path = Path(args["model_repository"], args["model_version"], "model.onnx")
        self._session = onnxruntime.InferenceSession(path)
        self._outputs = [each.name for each in self._session.get_outputs()]
        self._inputs = [tensor["name"] for tensor in config["input"]]
        self._states = config.get("sequence_batching", {}).get("state", [])
        parameters = {key: value["string_value"] for key, value in config["parameters"].items()}
        unit = int(parameters["samples_per_frame"]) if self._inputs[0] == "audio" else 1
        self._most = int(parameters.get("max_step_frames", 0)) * unit
        self._given = tensors.Inputs(self._inputs, limits.RequestLimits({}, longest_s=0))
        self._pasts: dict[int, dict[str, Any]] = {}

    def execute(self, requests: list[Any]) -> list[Any]:
        return [self._answer(request) for request in requests]

    def _answer(self, request: Any) -> Any:
        given = self._given.of(request)
        steps = given[self._inputs[0]].shape[-1]
        if self._states and not 1 <= steps <= self._most:
            return tensors.failure(f"no profile for {steps} steps", "INTERNAL")
        past = self._past(request) if self._states else {}
        made = dict(zip(self._outputs, self._session.run(None, {**given, **past}), strict=True))
        if self._states:
            self._keep(request, made)
        return tensors.answer_of(request, {name: made[name] for name in request.requested_output_names()})

    def _past(self, request: Any) -> dict[str, Any]:
        if request.flags() & _START:
            types = {"TYPE_FP16": np.float16, "TYPE_INT64": np.int64}
            return {
                state["input_name"]: np.zeros((1, *map(int, state["dims"])), types[state["data_type"]])
                for state in self._states
            }
        return self._pasts[request.correlation_id()]

    def _keep(self, request: Any, made: dict[str, Any]) -> None:
        stream = request.correlation_id()
        self._pasts[stream] = {s["input_name"]: made[s["output_name"]] for s in self._states}
        if request.flags() & _END:
            del self._pasts[stream]
