r"""Writes a Triton model repository from a codec, with one folder per model.

Tensor names are those of the ONNX files, so no mapping is needed::

    tokens, tokens_len -> [<codec>_dequantize] -> latent, latent_len -> [<codec>_vocoder] -> audio, audio_len
                          \_______________________ <codec>_decode ______________________/
    audio, audio_len   -> [<codec>_encode] -> tokens, tokens_len
    tokens             -> [<codec>_decode_stream] -> audio      a live stream, step by step
    audio              -> [<codec>_encode_stream] -> tokens     (each if the network is causal)
"""

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import version as version_of
from pathlib import Path
from typing import Literal, TypeAlias

from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2 as pb

from tritone_build.codecs.base import Codec
from tritone_build.engines.capacity import USUAL, Capacity
from tritone_build.engines.verification import LEAST_DB, verified
from tritone_build.graphs.precision import in_fp16, unfit_weights
from tritone_build.graphs.program import write_program
from tritone_build.graphs.role import Role
from tritone_build.graphs.roles import Target, role_names, roles
from tritone_build.repository.configs import decode_config, description_of, model_config, model_name
from tritone_build.repository.engine_configs import engine_configs
from tritone_build.repository.manifests import fingerprint, write_manifest
from tritone_build.repository.program_configs import program_configs
from tritone_runtime.manifests import (
    FORMAT,
    HASHES,
    ONNX_FILE,
    PROGRAM_FILE,
    data_files,
    read_manifest,
    sha256_of,
)

__all__ = [
    "PRECISIONS",
    "Weights",
    "configs_of",
    "describe",
    "is_current",
    "model_names",
    "rewrite_configs",
    "write_configs",
    "write_repository",
]

Weights: TypeAlias = Literal["fp32", "fp16", "int8"]
PRECISIONS: Mapping[str, tuple[Weights, ...]] = {
    "cpu": ("fp32", "int8"),
    "cuda": ("fp16", "fp32"),
}
"""The weights that models of a target may have, the usual ones first."""


def model_names(codec: Codec) -> dict[str, str]:
    """Map roles to names of models, the ensemble last."""
    return {role: model_name(codec.name, role) for role in (*role_names(codec), "decode")}


def is_current(repository: Path, codec: Codec, target: Target = "cpu", weights: Weights = "fp32") -> bool:
    """Whether every model of the codec exists and was built from this checkpoint by this code."""
    wanted = {"format": FORMAT, "target": target, "weights": weights, **fingerprint(codec.checkpoint_sha256)}
    for role, name in model_names(codec).items():
        version = repository / name / "1"
        if not wanted.items() <= read_manifest(version).items():
            return False
        if role != "decode" and not (version / _file(target)).exists():
            return False
    return True


def _file(target: Target) -> str:
    return PROGRAM_FILE if target == "cuda" else ONNX_FILE


def configs_of(
    codec: Codec, parts: Sequence[Role], target: Target, capacity: Capacity = USUAL
) -> dict[str, pb.ModelConfig]:
    """Return the configs by role, the ensemble last."""
    if target == "tensorrt":
        return engine_configs(codec, parts, capacity)
    if target == "cuda":
        return program_configs(codec, parts, capacity)
    configs = {role.name: model_config(codec, role) for role in parts}
    return configs | {"decode": decode_config(codec, parts[0], parts[1], echoes=True)}


def write_configs(configs: Mapping[str, pb.ModelConfig], repository: Path) -> None:
    """Write a ``config.pbtxt`` for each model."""
    for config in configs.values():
        folder = repository / config.name
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "config.pbtxt").write_text(text_format.MessageToString(config))


def rewrite_configs(configs: Mapping[str, pb.ModelConfig], repository: Path) -> None:
    """Write the configs, and what they say into the manifests of the models that are built."""
    write_configs(configs, repository)
    describe(configs, repository)


def describe(configs: Mapping[str, pb.ModelConfig], repository: Path) -> None:
    """Write what the configs say into the manifests of the models that are built."""
    for config in configs.values():
        version = repository / config.name / "1"
        if manifest := read_manifest(version):
            write_manifest(version, manifest | {"model": asdict(description_of(config))})


def write_repository(
    codec: Codec,
    repository: Path,
    progress: Callable[[str], None],
    target: Target = "cpu",
    weights: Weights = "fp32",
    capacity: Capacity = USUAL,
    least_db: float | None = LEAST_DB,
) -> tuple[Role, ...]:
    """Export every model of a codec and write its folder.

    Manifests are written last, so an interrupted build does not count as current. For TensorRT the graphs
    are the source of the engines (:mod:`tritone_build.engines.engine`).

    Args:
        codec: the codec, with its weights.
        repository: folder that Triton serves; created if missing. Other codecs in it are not changed.
        progress: called with the name of each model before it is compared or built.
        target: the target to build for.
        weights: ``int8`` quantizes the large matrices of all networks, which makes live steps on a CPU
            faster and less exact; ``fp16`` is for ``cuda``.
        capacity: the GPU that will serve, and the live streams wanted on it.
        least_db: least SNR of the audio of a program in FP16 against FP32, on speech; None compares nothing.

    Raises:
        PrecisionError: weights or activations become infinite in FP16, or it is too far from FP32.
        CapacityError: the GPU has too little memory for the live streams.
    """
    parts = roles(in_fp16(codec) if weights == "fp16" else codec, target)
    configs, write = configs_of(codec, parts, target, capacity), _writer(target, weights)
    fidelity = {}
    if weights == "fp16" and least_db is not None:
        fidelity = _fidelity(codec, parts, progress, least_db)
    for config in configs.values():
        shutil.rmtree(repository / config.name, ignore_errors=True)
    for role in parts:
        name = configs[role.name].name
        progress(name)
        version = repository / name / "1"
        write(role, version)
    write_configs(configs, repository)
    for role_name, config in configs.items():
        version = repository / config.name / "1"
        manifest = _manifest(codec, role_name, target, weights, version / _file(target))
        manifest |= {"fidelity": fidelity[role_name]} if role_name in fidelity else {}
        write_manifest(version, manifest | {"model": asdict(description_of(config))})
    return parts


def _fidelity(
    codec: Codec, parts: Sequence[Role], progress: Callable[[str], None], least_db: float
) -> dict[str, dict[str, float]]:
    """By role, how far FP16 is from FP32; PrecisionError if that is too far."""
    found = {}
    for role in parts:
        if role.name != "dequantize":  # a table in FP32
            progress(f"{model_name(codec.name, role.name)}: comparing FP16 with FP32")
            found[role.name] = verified(codec, role.name, least_db)
    return found


def _writer(target: Target, weights: Weights) -> Callable[[Role, Path], None]:
    """The function that writes a role into a version folder."""
    if target == "cuda":
        return lambda role, version: write_program(role, version / PROGRAM_FILE)
    # A machine with a GPU may have PyTorch alone, without the packages that export to ONNX.
    from tritone_build.repository.graph_files import SharedWeights, write_graph

    shared = SharedWeights()
    return lambda role, version: write_graph(role, version, weights == "int8", shared)


def _manifest(codec: Codec, role: str, target: Target, weights: Weights, graph: Path) -> dict[str, object]:
    hashed = {HASHES[graph.name]: sha256_of(graph, *data_files(graph))} if graph.exists() else {}
    engine = target == "tensorrt" and role not in ("dequantize", "decode")
    zeros = {"zero_in_fp16": _zeros(codec, role)} if engine else {}
    return {
        "format": FORMAT,
        "codec": codec.name,
        "role": role,
        "target": target,
        "weights": weights,
        "geometry": asdict(codec.geometry),
        "onnx": version_of("onnx"),
        **hashed,
        **fingerprint(codec.checkpoint_sha256),
        **zeros,
    }


def _zeros(codec: Codec, role: str) -> dict[str, dict[str, float]]:
    """Weights with values that become zero in FP16: their count, zeros, and largest such value."""
    return {
        weight.name: {"values": weight.count, "zero": weight.below, "largest": weight.largest_below}
        for weight in unfit_weights(codec, role)
        if weight.below
    }
