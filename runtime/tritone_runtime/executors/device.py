"""The device that runs models: a GPU, if ONNX Runtime has a provider for it, or the CPU."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import onnxruntime

__all__ = ["CPU", "VARIABLE", "Device", "chosen_device"]

VARIABLE = "TRITONE_DEVICE"
_CPU_PROVIDER, _CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"
_RTX_PLUGIN = "onnxruntime_ep_nv_tensorrt_rtx"


@dataclass(frozen=True)
class Device:
    """A device; ``memory`` is ONNX Runtime's name for its memory."""

    name: str
    memory: str

    @property
    def is_cpu(self) -> bool:
        """Whether tensors lie in main memory."""
        return self.memory == "cpu"

    def session(self, model: Any, options: onnxruntime.SessionOptions) -> onnxruntime.InferenceSession:
        """A session for a model file or its bytes; operators that the GPU lacks run on the CPU."""
        if self.name == "rtx":
            name = import_module(_RTX_PLUGIN).get_ep_name()
            devices = [each for each in onnxruntime.get_ep_devices() if each.ep_name == name]
            options.add_provider_for_devices(devices, {})
            return onnxruntime.InferenceSession(model, options)
        providers = [_CUDA, _CPU_PROVIDER] if self.name == "cuda" else [_CPU_PROVIDER]
        return onnxruntime.InferenceSession(model, options, providers=providers)


CPU = Device("cpu", "cpu")


def chosen_device(wanted: str | None = None, log: Callable[[str], None] = lambda _: None) -> Device:
    """The wanted device; if it is missing, the CPU.

    Args:
        wanted: ``cpu``, ``cuda``, ``rtx`` or ``auto`` (the first GPU provider that works); by
            default the environment variable ``TRITONE_DEVICE``, else ``cpu``.
        log: called with one line that names the device, and says why it is not the wanted one.
    """
    wanted = wanted or os.environ.get(VARIABLE) or "cpu"
    if wanted == "cpu":
        return CPU
    reasons = []
    for name in ("rtx", "cuda") if wanted == "auto" else (wanted,):
        missing = _MISSING.get(name, _unknown)()
        if missing is None:
            log(f"device {wanted}: models run on {name}")
            return Device(name, "cuda")
        reasons.append(f"{name}: {missing}")
    log(f"device {wanted}: models run on the CPU; {'; '.join(reasons)}")
    return CPU


def _unknown() -> str:
    return "no such device; there are cpu, cuda, rtx and auto"


def _no_cuda() -> str | None:
    if _CUDA not in onnxruntime.get_available_providers():
        return "ONNX Runtime here has no CUDA provider; pip install onnxruntime-gpu has"
    onnxruntime.preload_dlls()
    return None if _gpu_count(_CUDA) else "no NVIDIA GPU"


def _no_rtx() -> str | None:
    try:
        plugin = import_module(_RTX_PLUGIN)
    except ImportError:
        return "pip install onnxruntime-ep-nv-tensorrt-rtx-cu13 brings it"
    name = str(plugin.get_ep_name())
    try:
        if not _gpu_count(name):
            onnxruntime.register_execution_provider_library(name, plugin.get_library_path())
    except Exception as error:
        return f"the provider cannot be loaded ({error})"
    return None if _gpu_count(name) else "no RTX GPU"


def _gpu_count(provider: str) -> int:
    return sum(each.ep_name == provider for each in onnxruntime.get_ep_devices())


_MISSING: dict[str, Callable[[], str | None]] = {"rtx": _no_rtx, "cuda": _no_cuda}
