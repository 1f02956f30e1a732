"""Builds TensorRT engines from the graphs of a repository.

The steps are the same for every compiler: parse the graph, check the network against its role, build it for
the profiles, write the engine atomically, and record in the manifest how it was made.
"""

import resource
import shlex
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tritone_build.codecs.base import Codec
from tritone_build.engines.capacity import USUAL, Capacity
from tritone_build.engines.compiler import Compiler
from tritone_build.engines.engine_run import check_engine, engine_on_gpu
from tritone_build.engines.inspection import Inspection, inspect_network
from tritone_build.engines.profiles import Profile, profiles_of, shapes_of
from tritone_build.engines.verification import LEAST_DB, LEAST_EQUAL, verified
from tritone_build.files import atomic_write
from tritone_build.graphs.role import Role
from tritone_build.repository.configs import model_name
from tritone_build.repository.manifests import write_manifest
from tritone_runtime.manifests import ENGINE_FILE, ONNX_FILE, read_manifest

__all__ = ["DEFAULT_MEMORY_GB", "Engine", "build_engine", "engine_roles", "is_built", "trtexec_of"]

DEFAULT_MEMORY_GB = 6.0
_TIMINGS = "timing.cache"


@dataclass(frozen=True)
class Engine:
    """A built engine: its profiles, layers, build time and size."""

    model: str
    profiles: tuple[Profile, ...]
    inspection: Inspection
    seconds: float
    size_bytes: int


def engine_roles(parts: Sequence[Role]) -> list[Role]:
    """Return the roles that TensorRT runs."""
    return [role for role in parts if role.engine]


def is_built(
    codec: Codec, role: Role, repository: Path, compiler: Compiler, capacity: Capacity = USUAL
) -> bool:
    """Whether the engine exists and was built from this graph, by this compiler, for these profiles."""
    version = _version(codec, role, repository)
    manifest = read_manifest(version)
    wanted = _made_by(compiler, profiles_of(role, codec.geometry, capacity))
    graph = manifest.get("onnx_sha256")
    built: dict[str, Any] = manifest.get("engine", {})
    return (
        (version / ENGINE_FILE).exists()
        and wanted.items() <= built.items()
        and graph is not None
        and built.get("onnx_sha256") == graph
    )


def build_engine(
    codec: Codec,
    role: Role,
    repository: Path,
    compiler: Compiler,
    memory_gb: float = DEFAULT_MEMORY_GB,
    capacity: Capacity = USUAL,
    least_db: float = LEAST_DB,
    slots: int = 1,
) -> Engine:
    """Compile a graph of the repository into the engine beside it.

    Args:
        codec: the codec, whose geometry limits the profiles.
        role: the role of the engine.
        repository: the result of :func:`tritone_build.repository.writing.write_repository`.
        compiler: the compiler, with the GPUs to build for.
        memory_gb: limit of TensorRT's workspace.
        capacity: the GPU's memory, which limits the batches.
        least_db: least SNR of the network's audio in FP16.
        slots: most slots of a step that reads its state from numbered rows.

    Raises:
        PrecisionError: the network in FP16 overflows, or is too far from FP32; or, on a GPU, the engine is.
        EngineError: TensorRT refuses the graph or builds no engine, or the network does not fit its role.
        OSError: the engine cannot be written; no partial file is left.
    """
    started, version = time.monotonic(), _version(codec, role, repository)
    fidelity = verified(codec, role.name, least_db)
    network = compiler.parse(version / ONNX_FILE)
    inspection = inspect_network(network, role)
    profiles = profiles_of(role, codec.geometry, capacity)
    shapes = [shapes_of(role, codec.geometry, profile, slots) for profile in profiles]
    plan = compiler.build(network, shapes, round(memory_gb * 2**30), repository / _TIMINGS)
    if compiler.gpu is not None and role.engine:
        with engine_on_gpu(plan) as run:
            fidelity |= check_engine(codec, role, profiles, run, least_db, LEAST_EQUAL)
    with atomic_write(version / ENGINE_FILE) as partial:
        partial.write_bytes(plan)
    engine = Engine(
        model_name(codec.name, role.name), profiles, inspection, time.monotonic() - started, len(plan)
    )
    manifest = read_manifest(version)
    manifest["engine"] = _made_by(compiler, profiles) | {
        "onnx_sha256": manifest["onnx_sha256"],
        "precision": "fp16",
        "layers": dict(inspection.layers),
        "fp16_share_of_weights": round(inspection.fp16_share, 3),
        "seconds": round(engine.seconds, 1),
        "bytes": engine.size_bytes,
        "peak_memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1000,
        "fidelity": fidelity,
    }
    write_manifest(version, manifest)
    return engine


def trtexec_of(
    codec: Codec,
    role: Role,
    repository: Path,
    memory_gb: float = DEFAULT_MEMORY_GB,
    capacity: Capacity = USUAL,
) -> str:
    """Return the trtexec command that builds the same engine."""
    version = _version(codec, role, repository)
    command = [
        "trtexec",
        "--stronglyTyped",
        "--noTF32",
        f"--onnx={version / ONNX_FILE}",
        f"--saveEngine={version / ENGINE_FILE}",
        f"--memPoolSize=workspace:{round(memory_gb * 1024)}",
    ]
    for number, profile in enumerate(profiles_of(role, codec.geometry, capacity)):
        shapes = shapes_of(role, codec.geometry, profile)
        command.append(f"--profile={number}")
        for kind, at in (("min", 0), ("opt", 1), ("max", 2)):
            each = (f"{name}:{'x'.join(map(str, sizes[at]))}" for name, sizes in shapes.items())
            command.append(f"--{kind}Shapes={','.join(each)}")
    return shlex.join(command)


def _version(codec: Codec, role: Role, repository: Path) -> Path:
    return repository / model_name(codec.name, role.name) / "1"


def _made_by(compiler: Compiler, profiles: Sequence[Profile]) -> dict[str, Any]:
    return {
        "compiler": compiler.name,
        "compiler_version": compiler.version,
        "compute_capabilities": [f"{major}.{minor}" for major, minor in compiler.capabilities],
        "profiles": [asdict(profile) for profile in profiles],
    } | ({"gpu": compiler.gpu.name} if compiler.gpu else {})
