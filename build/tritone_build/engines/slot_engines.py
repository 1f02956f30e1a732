"""Engines of steps by slot, beside the programs of the ``cuda`` target.

The program stays: it runs the shapes that no profile of the engine holds.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

from tritone_build.codecs.base import Codec
from tritone_build.engines.capacity import Capacity
from tritone_build.engines.compiler import Compiler
from tritone_build.engines.engine import DEFAULT_MEMORY_GB, Engine, build_engine, is_built
from tritone_build.engines.verification import LEAST_DB
from tritone_build.errors import EngineError
from tritone_build.graphs.export import graph_of, write_onnx
from tritone_build.graphs.precision import in_fp16
from tritone_build.graphs.role import Role
from tritone_build.graphs.roles import roles
from tritone_build.repository.configs import model_name
from tritone_build.repository.manifests import write_manifest
from tritone_runtime.manifests import HASHES, ONNX_FILE, read_manifest, sha256_of

__all__ = ["build_slot_engines", "slot_roles"]


def slot_roles(codec: Codec) -> list[Role]:
    """The steps of live streams of the ``cuda`` target, in FP16."""
    return [role for role in roles(in_fp16(codec), "cuda") if role.packing is not None]


def build_slot_engines(
    codec: Codec,
    repository: Path,
    compiler: Compiler,
    capacity: Capacity,
    progress: Callable[[str], None],
    memory_gb: float = DEFAULT_MEMORY_GB,
    least_db: float = LEAST_DB,
) -> Iterator[Engine]:
    """Compile the steps of live streams of a repository that was built for ``cuda``.

    Args:
        codec: the codec, whose programs are in the repository.
        repository: what ``tritone-build models --target cuda`` wrote.
        compiler: the compiler, with the GPUs to build for.
        capacity: the GPU's memory, which limits the batches.
        progress: called with a line for each engine.
        memory_gb: limit of TensorRT's workspace.
        least_db: least SNR of the network's audio in FP16.

    Raises:
        PrecisionError, EngineError: as of :func:`tritone_build.engines.engine.build_engine`; or the
            repository has weights in FP32.
    """
    for role in slot_roles(codec):
        name = model_name(codec.name, role.name)
        version = repository / name / "1"
        _refuse_fp32(version)
        if not (version / ONNX_FILE).exists():
            progress(f"exporting {name} ...")
            _export(role, version)
        if is_built(codec, role, repository, compiler, capacity):
            progress(f"{name}: up to date")
            continue
        progress(f"compiling {name} ...")
        slots = int(read_manifest(version)["model"]["parameters"]["max_streams"]) + 1
        yield build_engine(codec, role, repository, compiler, memory_gb, capacity, least_db, slots)


def _refuse_fp32(version: Path) -> None:
    weights = read_manifest(version).get("weights")
    if weights != "fp16":
        raise EngineError(
            f"{version.parent} was built with weights in {weights}, and an engine has FP16; build it with "
            "'tritone-build models --target cuda --force'"
        )


def _export(role: Role, version: Path) -> None:
    graph = version / ONNX_FILE
    write_onnx(graph_of(role), graph)
    write_manifest(version, read_manifest(version) | {HASHES[ONNX_FILE]: sha256_of(graph)})
