"""The graphs that TensorRT compiles, for a small codec of each kind."""

import shutil
from pathlib import Path
from typing import Any

import onnx
import onnxruntime
from numpy.typing import NDArray

from helpers.workers import locked
from tritone_build.codecs.base import Codec
from tritone_build.graphs.roles import role_names
from tritone_build.repository.configs import model_name
from tritone_build.repository.writing import is_current, write_repository
from tritone_runtime.manifests import ONNX_FILE

__all__ = ["GRAPHS", "STREAMED", "EngineGraphs", "Running"]

GRAPHS = (
    "small_nanocodec",
    "small_lfsc",
    "small_mimi",
    "small_moss_nano",
    "small_qwen3_tts_12hz",
    "small_spectral_25fps",
)
STREAMED = ("small_nanocodec", "small_mimi", "small_moss_nano")


class Running:
    """Runs the graphs of one codec with ONNX Runtime, by role and named inputs."""

    def __init__(self, graphs: dict[str, onnx.ModelProto]):
        self._sessions = {
            role: onnxruntime.InferenceSession(graph.SerializeToString()) for role, graph in graphs.items()
        }

    def __call__(self, role: str, **inputs: NDArray[Any]) -> list[NDArray[Any]]:
        outputs: list[NDArray[Any]] = self._sessions[role].run(None, inputs)
        return outputs


class EngineGraphs:
    """Graphs by codec, exported at their first use and reused in later runs unless the code has changed."""

    def __init__(self, codecs: dict[str, Codec], folder: Path):
        self._codecs, self._folder = codecs, folder
        self._graphs: dict[str, dict[str, onnx.ModelProto]] = {}
        self._running: dict[str, Running] = {}

    def of(self, name: str) -> dict[str, onnx.ModelProto]:
        """The graphs of a codec, by role."""
        if name not in self._graphs:
            self._export(name)
            self._graphs[name] = {
                role: onnx.load(self._folder / model_name(name, role) / "1" / ONNX_FILE)
                for role in role_names(self._codecs[name])
            }
        return self._graphs[name]

    def copied(self, name: str, folder: Path) -> Path:
        """Copy a codec's graphs into ``folder``, a repository in which they can be compiled; return it."""
        self._export(name)
        for role in (*role_names(self._codecs[name]), "decode"):
            model = model_name(name, role)
            shutil.copytree(self._folder / model, folder / model)
        return folder

    def _export(self, name: str) -> None:
        with locked(name):
            if not is_current(self._folder, self._codecs[name], "tensorrt"):
                write_repository(self._codecs[name], self._folder, lambda _: None, "tensorrt")

    def running(self, name: str) -> Running:
        """The graphs of a codec, loaded in ONNX Runtime."""
        if name not in self._running:
            self._running[name] = Running(self.of(name))
        return self._running[name]
