"""The graphs that TensorRT compiles, of one small codec of each kind."""

from typing import Any

import onnx
import onnxruntime
from numpy.typing import NDArray

from tritone_build.codecs.base import Codec
from tritone_build.export import onnx_from_module
from tritone_build.roles import roles

__all__ = ["GRAPHS", "STREAMED", "EngineGraphs", "Running"]

GRAPHS = ("small_nanocodec", "small_lfsc", "small_mimi")
STREAMED = ("small_nanocodec", "small_mimi")


class Running:
    """The graphs of one codec on ONNX Runtime, called by role and named inputs."""

    def __init__(self, graphs: dict[str, onnx.ModelProto]):
        self._sessions = {
            role: onnxruntime.InferenceSession(graph.SerializeToString()) for role, graph in graphs.items()
        }

    def __call__(self, role: str, **inputs: NDArray[Any]) -> list[NDArray[Any]]:
        outputs: list[NDArray[Any]] = self._sessions[role].run(None, inputs)
        return outputs


class EngineGraphs:
    """Exported when first asked for."""

    def __init__(self, codecs: dict[str, Codec]):
        self._codecs = codecs
        self._graphs: dict[str, dict[str, onnx.ModelProto]] = {}
        self._running: dict[str, Running] = {}

    def of(self, name: str) -> dict[str, onnx.ModelProto]:
        """By role."""
        if name not in self._graphs:
            parts = roles(self._codecs[name], "tensorrt")
            self._graphs[name] = {role.name: onnx_from_module(role) for role in parts}
        return self._graphs[name]

    def running(self, name: str) -> Running:
        """On ONNX Runtime."""
        if name not in self._running:
            self._running[name] = Running(self.of(name))
        return self._running[name]
