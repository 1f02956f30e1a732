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
from pathlib import Path
from typing import Literal, TypeAlias

import onnx
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2 as pb

from tritone_build.codecs.base import Codec
from tritone_build.graphs.export import graph_of, write_onnx
from tritone_build.graphs.precision import unfit_weights
from tritone_build.graphs.quantization import quantized_to_int8
from tritone_build.graphs.role import Role
from tritone_build.graphs.roles import Target, role_names, roles
from tritone_build.graphs.weights import SharedWeights
from tritone_build.repository.configs import decode_config, description_of, model_config, model_name
from tritone_build.repository.engine_configs import engine_configs
from tritone_build.repository.manifests import fingerprint, write_manifest
from tritone_runtime.manifests import FORMAT, ONNX_FILE, data_files, read_manifest, sha256_of

__all__ = [
    "Weights",
    "configs_of",
    "is_current",
    "model_names",
    "write_configs",
    "write_repository",
]

Weights: TypeAlias = Literal["fp32", "int8"]


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
        if role != "decode" and not (version / ONNX_FILE).exists():
            return False
    return True


def configs_of(codec: Codec, parts: Sequence[Role], target: Target) -> dict[str, pb.ModelConfig]:
    """Return the configs by role, the ensemble last."""
    if target == "tensorrt":
        return engine_configs(codec, parts)
    configs = {role.name: model_config(codec, role) for role in parts}
    return configs | {"decode": decode_config(codec, parts[0], parts[1], echoes=True)}


def write_configs(configs: Mapping[str, pb.ModelConfig], repository: Path) -> None:
    """Write a ``config.pbtxt`` for each model."""
    for config in configs.values():
        folder = repository / config.name
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "config.pbtxt").write_text(text_format.MessageToString(config))


def write_repository(
    codec: Codec,
    repository: Path,
    progress: Callable[[str], None],
    target: Target = "cpu",
    weights: Weights = "fp32",
) -> tuple[Role, ...]:
    """Export every model of a codec and write its folder.

    Manifests are written last, so an interrupted build does not count as current. For TensorRT the graphs
    are the source of the engines (:mod:`tritone_build.engines.engine`).

    Args:
        codec: the codec, with its weights.
        repository: folder that Triton serves; created if missing. Other codecs in it are not changed.
        progress: called with the name of each model before it is built.
        target: the target to build for.
        weights: ``int8`` quantizes the large matrices of all networks, which makes live steps on a CPU
            faster and less exact.
    """
    parts = roles(codec, target)
    configs, shared = configs_of(codec, parts, target), SharedWeights()
    for config in configs.values():
        shutil.rmtree(repository / config.name, ignore_errors=True)
    for role in parts:
        name = configs[role.name].name
        progress(name)
        graph = graph_of(role)
        if weights == "int8" and role.name != "dequantize":
            graph = quantized_to_int8(graph)
        version = repository / name / "1"
        shared.externalize(graph, version, role.name)
        write_onnx(graph, version / ONNX_FILE)
    write_configs(configs, repository)
    for role_name, config in configs.items():
        version = repository / config.name / "1"
        manifest = _manifest(codec, role_name, target, weights, version / ONNX_FILE)
        write_manifest(version, manifest | {"model": asdict(description_of(config))})
    return parts


def _manifest(codec: Codec, role: str, target: Target, weights: Weights, graph: Path) -> dict[str, object]:
    hashed = {"onnx_sha256": sha256_of(graph, *data_files(graph))} if graph.exists() else {}
    engine = target == "tensorrt" and role not in ("dequantize", "decode")
    zeros = {"zero_in_fp16": _zeros(codec, role)} if engine else {}
    return {
        "format": FORMAT,
        "codec": codec.name,
        "role": role,
        "target": target,
        "weights": weights,
        "geometry": asdict(codec.geometry),
        "onnx": onnx.__version__,
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
