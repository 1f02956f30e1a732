"""TensorRT or TensorRT-RTX, through Polygraphy.

``tensorrt`` needs the GPU that it builds for; ``tensorrt_rtx`` also builds for GPUs of other machines. A
process uses only one of them, because Polygraphy chooses when it is imported.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, TypeAlias

from tritone_build.engines.profiles import Shapes
from tritone_build.engines.trt_errors import error_recorder
from tritone_build.errors import CompilerMissingError, EngineError
from tritone_runtime.gpu import Capability, Gpu, gpu_here

__all__ = ["Compiler", "CompilerName", "Network", "find_compiler"]

CompilerName: TypeAlias = Literal["auto", "tensorrt", "tensorrt_rtx"]

_POLYGRAPHY_RTX = "POLYGRAPHY_USE_TENSORRT_RTX"
_HINTS = {
    "tensorrt": "it comes with NVIDIA's containers (nvcr.io/nvidia/tritonserver)",
    "tensorrt_rtx": "install it with pip install 'tritone-build[engines]'",
}


@dataclass(frozen=True)
class Network:
    """A parsed network: Polygraphy's (builder, network, parser), and the TensorRT module it belongs to."""

    parsed: Any
    trt: Any

    @property
    def definition(self) -> Any:
        """TensorRT's INetworkDefinition."""
        return self.parsed[1]


@dataclass(frozen=True)
class Compiler:
    """An installed TensorRT.

    Attributes:
        name: ``tensorrt`` or ``tensorrt_rtx``.
        trt: its module.
        capabilities: the GPUs it builds for; empty for all supported ones.
        gpu: the GPU of this machine, on which ``tensorrt`` times kernels.
    """

    name: str
    trt: Any
    capabilities: tuple[Capability, ...] = ()
    gpu: Gpu | None = None

    @property
    def version(self) -> str:
        """Version of TensorRT."""
        return str(self.trt.__version__)

    @property
    def is_rtx(self) -> bool:
        """Whether this is TensorRT-RTX, which builds without a GPU and without timing kernels."""
        return self.name == "tensorrt_rtx"

    def parse(self, path: Path) -> Network:
        """Parse an ONNX file as a strongly typed network.

        Raises:
            EngineError: TensorRT refuses a node; the message names it.
        """
        backend = import_module("polygraphy.backend.trt")
        try:
            parsed = backend.network_from_onnx_path(str(path), strongly_typed=True)
        except Exception as error:
            raise EngineError(f"{path}: TensorRT {self.version} refuses {self._refused(path)}") from error
        return Network(parsed, self.trt)

    def _refused(self, path: Path) -> str:
        logger = self.trt.Logger(self.trt.Logger.INTERNAL_ERROR)
        network = self.trt.Builder(logger).create_network()  # keep a reference: the parser has none
        parser = self.trt.OnnxParser(network, logger)
        parser.parse_from_file(str(path))
        errors = [parser.get_error(number) for number in range(parser.num_errors)]
        messages = [f"node {e.node_name() or e.node()} ({e.node_operator()}): {e.desc()}" for e in errors]
        return "; ".join(messages) or "it and gives no reason"

    def build(self, network: Network, profiles: Sequence[Shapes], memory_bytes: int, cache: Path) -> bytes:
        """Build the engine for profiles, with limited workspace; ``cache`` keeps TensorRT's timings.

        Raises:
            EngineError: TensorRT built none; the message gives its reasons.
        """
        backend, errors = import_module("polygraphy.backend.trt"), error_recorder(self.trt)
        network.parsed[0].error_recorder = errors
        try:
            config = backend.PostprocessConfig(
                self._config(profiles, memory_bytes, cache),
                lambda _builder, _network, config: self._exact(config),
            )
            timings = None if self.is_rtx else str(cache)
            plan = backend.engine_bytes_from_network(network.parsed, config, save_timing_cache=timings)
            return bytes(plan)
        except Exception as error:
            why = "; ".join(errors.messages) or error
            raise EngineError(f"TensorRT {self.version} built no engine: {why}") from error

    def _exact(self, config: Any) -> None:
        # Layers that stay in FP32 need its full precision.
        config.clear_flag(self.trt.BuilderFlag.TF32)

    def _config(self, profiles: Sequence[Shapes], memory_bytes: int, cache: Path) -> Any:
        backend = import_module("polygraphy.backend.trt")
        made = [_profile(backend, shapes) for shapes in profiles]
        limits = {self.trt.MemoryPoolType.WORKSPACE: memory_bytes}
        if self.is_rtx:
            rtx = import_module("polygraphy.backend.tensorrt_rtx")
            asked = list(self.capabilities) or None
            return rtx.CreateConfigRTX(profiles=made, memory_pool_limits=limits, compute_capabilities=asked)
        return backend.CreateConfig(profiles=made, memory_pool_limits=limits, load_timing_cache=str(cache))


def _profile(backend: Any, shapes: Shapes) -> Any:
    profile = backend.Profile()
    for name, (least, usual, most) in shapes.items():
        profile.add(name, least, usual, most)
    return profile


def find_compiler(wanted: CompilerName = "auto", capabilities: Sequence[Capability] = ()) -> Compiler:
    """Return the wanted compiler, or with ``auto`` the first that is installed.

    Raises:
        CompilerMissingError: none is installed; the message says where to get it.
        EngineError: ``capabilities`` are given for ``tensorrt``.
    """
    names = [wanted] if wanted != "auto" else list(_HINTS)
    for name in names:
        if find_spec(name) is None or find_spec("polygraphy") is None:
            continue
        os.environ[_POLYGRAPHY_RTX] = str(int(name == "tensorrt_rtx"))
        _silence()
        if name == "tensorrt" and capabilities:
            raise EngineError(
                "tensorrt builds for the GPU of this machine only; leave out the compute capabilities"
            )
        if name == "tensorrt":
            gpu = gpu_here()
            return Compiler(name, import_module(name), (gpu.capability,), gpu)
        return Compiler(name, import_module(name), tuple(capabilities))
    missing = "; ".join(f"{name}: {_HINTS[name]}" for name in names)
    raise CompilerMissingError(f"no TensorRT with Polygraphy here. {missing}")


def _silence() -> None:
    logger = import_module("polygraphy.logger").G_LOGGER
    logger.module_severity = logger.CRITICAL + 1
