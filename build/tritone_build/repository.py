r"""A Triton model repository from a codec: one folder per model, each config a protobuf message.

Tensor names are those of the ONNX files, so nothing has to be mapped::

    tokens, tokens_len -> [<codec>_dequantize] -> latent, latent_len -> [<codec>_vocoder] -> audio, audio_len
                          \_______________________ <codec>_decode ______________________/
    audio, audio_len   -> [<codec>_encode] -> tokens, tokens_len
"""

import hashlib
import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path

import onnx
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2 as pb

from tritone_build.codecs.base import Codec, Geometry
from tritone_build.export import Role, onnx_from_module, roles, write_onnx

__all__ = ["decode_config", "fingerprint", "is_current", "model_config", "model_names", "write_repository"]

MAX_BATCH_SIZE = 64
_BUILDERS = ("layers/*.py", "codecs/*.py", "checkpoints.py", "weight_norm.py", "export.py", "repository.py")
ONNX_FILE, MANIFEST = "model.onnx", "manifest.json"
_LENGTHS = ("tokens_len", "latent_len", "audio_len")
_DTYPES = {"tokens": pb.TYPE_INT64, "latent": pb.TYPE_FP32, "audio": pb.TYPE_FP32} | dict.fromkeys(
    _LENGTHS, pb.TYPE_INT64
)


def model_names(codec: str) -> dict[str, str]:
    """Role -> model name, the ensemble last."""
    return {role: f"{codec}_{role}" for role in ("dequantize", "vocoder", "encode", "decode")}


def parameters(geometry: Geometry, checkpoint_sha256: str, lookaround_frames: int) -> dict[str, str]:
    """What a client must know of a model, as the strings that Triton's ``parameters`` hold."""
    return {
        "sample_rate": str(geometry.sample_rate_hz),
        "samples_per_frame": str(geometry.samples_per_frame),
        "num_codebooks": str(geometry.num_codebooks),
        "codebook_size": str(geometry.codebook_size),
        "min_frames": str(geometry.min_frames),
        "min_samples": str(geometry.min_samples),
        "lookaround_frames": str(lookaround_frames),
        "checkpoint_sha256": checkpoint_sha256,
    }


def model_config(codec: Codec, role: Role) -> pb.ModelConfig:
    """Config of a model that ONNX Runtime runs; requests are not merged, so one cannot fail another."""
    g = codec.geometry
    config = pb.ModelConfig(
        name=model_names(codec.name)[role.name],
        backend="onnxruntime",
        max_batch_size=MAX_BATCH_SIZE,
        instance_group=[pb.ModelInstanceGroup(kind=pb.ModelInstanceGroup.KIND_CPU, count=1)],
    )
    _add_tensors(config, role.inputs, role.outputs)
    look = g.encode_lookaround_frames if role.name == "encode" else g.lookaround_frames
    _add_parameters(config, parameters(g, codec.checkpoint_sha256, look) | {"causal": "false"})
    if role.name != "encode":
        config.parameters["causal"].string_value = str(g.causal).lower()
    if role.name == "dequantize":
        # A table lookup: waking a second thread would take longer than the work.
        config.parameters["intra_op_thread_count"].string_value = "1"
    return config


def decode_config(codec: Codec, dequantize: Role, vocoder: Role) -> pb.ModelConfig:
    """Config of the ensemble that turns tokens into audio."""
    names, g = model_names(codec.name), codec.geometry
    config = pb.ModelConfig(name=names["decode"], platform="ensemble", max_batch_size=MAX_BATCH_SIZE)
    _add_tensors(config, dequantize.inputs, vocoder.outputs)
    for role in (dequantize, vocoder):
        config.ensemble_scheduling.step.add(
            model_name=names[role.name],
            model_version=-1,
            input_map={name: name for name in role.inputs},
            output_map={name: name for name in role.outputs},
        )
    _add_parameters(
        config,
        parameters(g, codec.checkpoint_sha256, g.lookaround_frames) | {"causal": str(g.causal).lower()},
    )
    return config


def _add_tensors(
    config: pb.ModelConfig,
    inputs: Mapping[str, tuple[int | str, ...]],
    outputs: Mapping[str, tuple[int | str, ...]],
) -> None:
    for name, axes in inputs.items():
        config.input.add(name=name, data_type=_DTYPES[name], dims=_dims(axes))
    for name, axes in outputs.items():
        config.output.add(name=name, data_type=_DTYPES[name], dims=_dims(axes))


def _dims(axes: tuple[int | str, ...]) -> list[int]:
    return [-1 if isinstance(axis, str) else axis for axis in axes]


def _add_parameters(config: pb.ModelConfig, values: Mapping[str, str]) -> None:
    for key, value in values.items():
        config.parameters[key].string_value = value


def fingerprint(checkpoint_sha256: str) -> dict[str, str]:
    """What a built model depends on: its checkpoint and the sources that turn it into a graph."""
    root = Path(__file__).parent
    sources = hashlib.sha256()
    for path in sorted(path for pattern in _BUILDERS for path in root.glob(pattern)):
        sources.update(path.relative_to(root).as_posix().encode() + path.read_bytes())
    return {"checkpoint_sha256": checkpoint_sha256, "builder_sha256": sources.hexdigest()}


def is_current(repository: Path, codec: str, checkpoint_sha256: str) -> bool:
    """Whether every model of the codec is there, built from this checkpoint by this code."""
    wanted = fingerprint(checkpoint_sha256)
    for role, name in model_names(codec).items():
        manifest = repository / name / "1" / MANIFEST
        if not manifest.exists() or not wanted.items() <= json.loads(manifest.read_text()).items():
            return False
        if role != "decode" and not manifest.with_name(ONNX_FILE).exists():
            return False
    return True


def write_repository(codec: Codec, repository: Path, progress: Callable[[str], None]) -> list[Path]:
    """Export every model of a codec and write its folder; manifests last, so half a build shows.

    Args:
        codec: with its weights.
        repository: folder that Triton serves; made if missing, other codecs in it are left alone.
        progress: called with the name of each model before it is built.
    """
    parts = roles(codec)
    configs = {role.name: model_config(codec, role) for role in parts}
    configs["decode"] = decode_config(codec, parts[0], parts[1])
    folders = [repository / config.name for config in configs.values()]
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)
    for role in parts:
        name = configs[role.name].name
        progress(name)
        write_onnx(onnx_from_module(role), repository / name / "1" / ONNX_FILE)
    for config, folder in zip(configs.values(), folders, strict=True):
        (folder / "1").mkdir(parents=True, exist_ok=True)
        (folder / "config.pbtxt").write_text(text_format.MessageToString(config))
        manifest = {
            "codec": codec.name,
            "geometry": asdict(codec.geometry),
            "onnx": onnx.__version__,
            **fingerprint(codec.checkpoint_sha256),
        }
        (folder / "1" / MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n")
    return folders
