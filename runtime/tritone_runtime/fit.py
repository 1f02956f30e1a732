"""Checks that models are as they were built, and that the server and its GPU can run them.

An engine runs on one version of TensorRT and on the GPUs it was compiled for. Triton would fail while it
loads the engine, with a message of TensorRT; the manifests tell beforehand.
"""

import ctypes
import ctypes.util
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from tritone_runtime.errors import DamagedModelError, DeviceError, EngineMisfitError, NoGpuError
from tritone_runtime.gpu import Gpu, gpu_here
from tritone_runtime.manifests import ENGINE_FILE, HASHES, data_files, read_manifest, sha256_of
from tritone_runtime.state_pool import state_pool_bytes

__all__ = ["Machine", "check_device", "check_fit", "check_whole", "engines_among", "machine_here"]

Version: TypeAlias = tuple[int, int, int]

_BACKEND = "libtriton_tensorrt.so"
_LEAST_DRIVER = 580
"""The oldest driver branch for CUDA 13, which the Triton images with TensorRT 11 bring."""
_MOST_OF_MEMORY = 0.9
"""Share of a GPU's memory for engines and state; the rest is CUDA's, and for what the engines compute."""
_AGAIN = "compile it again, where it is served: tritone-build engines {codec} --force"


@dataclass(frozen=True)
class Machine:
    """The GPU and the version of TensorRT; None for what the machine lacks."""

    gpu: Gpu | None
    tensorrt: Version | None


def machine_here(backends: Path) -> Machine:
    """This machine, with a Triton whose backends are in the folder ``backends``."""
    try:
        gpu = gpu_here()
    except NoGpuError:
        gpu = None
    has_backend = (backends / "tensorrt" / _BACKEND).exists()
    return Machine(gpu, _library_version() if has_backend else None)


def _library_version() -> Version | None:
    name = ctypes.util.find_library("nvinfer")
    if name is None:
        return None
    number = int(ctypes.CDLL(name).getInferLibVersion())
    return number // 10000, number // 100 % 100, number % 100


def engines_among(repository: Path, models: Sequence[str]) -> list[str]:
    """Those of the models that are TensorRT engines."""
    configs = {model: repository / model / "config.pbtxt" for model in models}
    return [model for model, path in configs.items() if path.exists() and ENGINE_FILE in path.read_text()]


def check_device(repository: Path, models: Sequence[str], device: str) -> None:
    """Refuse a device that the models were not built for, and models for a GPU where there is none.

    Args:
        repository: folder of the models.
        models: names of models; those that are not built are left out.
        device: ``auto``, ``cpu`` or ``cuda``; programs for a GPU run on a CPU too if that is asked for.

    Raises:
        DeviceError: says why, and what to do.
    """
    manifests = (read_manifest(repository / model / "1") for model in models)
    targets = {manifest["target"]: manifest["codec"] for manifest in manifests if "target" in manifest}
    if "cpu" in targets and device == "cuda":
        codec = targets["cpu"]
        raise DeviceError(
            f"{codec} in {repository} was built for the CPU; build it for a GPU with 'tritone-build models "
            f"{codec} --target cuda', or let it run on the CPU"
        )
    if "cuda" not in targets or device == "cpu":
        return
    try:
        gpu_here()
    except NoGpuError as error:
        codec = targets["cuda"]
        raise DeviceError(
            f"{codec} in {repository} was built for an NVIDIA GPU, and nvidia-smi finds none here; build it "
            f"for the CPU with 'tritone-build models {codec}', or try it with the device 'cpu', which is slow"
        ) from error


def check_fit(repository: Path, models: Sequence[str], machine: Machine) -> None:
    """Refuse engines that this machine cannot run.

    Args:
        repository: folder of the engines and their manifests.
        models: names of models to serve; models that are not engines fit anywhere.
        machine: the machine that serves them.

    Raises:
        EngineMisfitError: names each engine that does not fit, why, and what to do; or the driver is too old,
            or the GPU too small for the engines and the state of their streams.
    """
    engines = engines_among(repository, models)
    if not engines:
        return
    if machine.tensorrt is None:
        raise EngineMisfitError(
            f"{', '.join(engines)} are TensorRT engines, and this server has no TensorRT backend; serve them "
            "in NVIDIA's container, or serve what 'tritone-build models' builds"
        )
    if machine.gpu is None:
        raise EngineMisfitError(
            f"{', '.join(engines)} are TensorRT engines, and nvidia-smi finds no GPU here; give the "
            "container one (--gpus all), or serve what 'tritone-build models' builds"
        )
    _refuse_old_driver(machine.gpu)
    has = (machine.gpu, machine.tensorrt)
    misfits = [f"{model} {why}" for model in engines if (why := _misfit(repository / model / "1", *has))]
    if misfits:
        raise EngineMisfitError("; ".join(misfits))
    _refuse_small_memory(repository, engines, machine.gpu)


def _refuse_old_driver(gpu: Gpu) -> None:
    if int(gpu.driver.partition(".")[0]) < _LEAST_DRIVER:
        raise EngineMisfitError(
            f"the driver of the {gpu.name} is {gpu.driver}, and CUDA 13 needs {_LEAST_DRIVER} or newer; "
            "install a newer driver on the host"
        )


def _refuse_small_memory(repository: Path, engines: Sequence[str], gpu: Gpu) -> None:
    state = state_pool_bytes(repository, engines)
    plans = sum((repository / engine / "1" / ENGINE_FILE).stat().st_size for engine in engines)
    if state + plans > _MOST_OF_MEMORY * gpu.memory_bytes:
        raise EngineMisfitError(
            f"the {gpu.name} has {gpu.memory_bytes / 1e9:.1f} GB of memory, and {', '.join(engines)} take "
            f"{plans / 1e9:.1f} GB and {state / 1e9:.1f} GB for the state of their streams; build them for "
            "fewer streams: tritone-build engines --max-streams N, or serve fewer codecs"
        )


def check_whole(repository: Path, models: Sequence[str]) -> None:
    """Refuse graphs and weights that changed after they were built: a damaged one may load and sound wrong.

    Raises:
        DamagedModelError: names each damaged model.
    """
    damaged = []
    for model in models:
        version = repository / model / "1"
        manifest = read_manifest(version)
        files = {version / name: manifest.get(entry) for name, entry in HASHES.items()}
        if any(
            expected and file.exists() and sha256_of(file, *data_files(file)) != expected
            for file, expected in files.items()
        ):
            damaged.append(model)
    if damaged:
        raise DamagedModelError(
            f"{', '.join(damaged)} in {repository}: the files are not those that were built, a disk or a "
            "copy has damaged them; remove their folders and build them again with 'tritone-build models'"
        )


def _misfit(version: Path, gpu: Gpu, tensorrt: Version) -> str | None:
    path, manifest = version / ENGINE_FILE, read_manifest(version)
    engine: dict[str, Any] | None = manifest.get("engine")
    again = _AGAIN.format(codec=manifest.get("codec", "..."))
    if engine is None or not path.exists():
        return f"has no engine; {again.replace(' again', '').replace(' --force', '')}"
    if engine["bytes"] != path.stat().st_size:
        return f"has {path.stat().st_size} bytes where {engine['bytes']} were written; {again}"
    if engine["onnx_sha256"] != manifest["onnx_sha256"]:
        return f"was compiled from another graph than lies beside it; {again}"
    return _foreign(engine, gpu, tensorrt, again)


def _foreign(engine: dict[str, Any], gpu: Gpu, tensorrt: Version, again: str) -> str | None:
    if engine["compiler"] != "tensorrt":
        return f"was compiled by {engine['compiler']}, which Triton's TensorRT backend cannot load; {again}"
    here = ".".join(map(str, tensorrt))
    if engine["compiler_version"].split(".")[:3] != here.split("."):
        return f"was compiled by TensorRT {engine['compiler_version']}, this server has {here}; {again}"
    capability = "{}.{}".format(*gpu.capability)
    if capability not in engine["compute_capabilities"]:
        made_for = ", ".join(engine["compute_capabilities"])
        return f"is for compute capability {made_for}, this GPU has {capability}; {again}"
    if engine.get("gpu", gpu.name) != gpu.name:
        return f"was compiled on an {engine['gpu']}, this GPU is an {gpu.name}; {again}"
    return None
