r"""A Triton model repository from a codec: one folder per model.

Tensor names are those of the ONNX files, so nothing has to be mapped::

    tokens, tokens_len -> [<codec>_dequantize] -> latent, latent_len -> [<codec>_vocoder] -> audio, audio_len
                          \_______________________ <codec>_decode ______________________/
    audio, audio_len   -> [<codec>_encode] -> tokens, tokens_len
    tokens             -> [<codec>_decode_stream] -> audio      a live stream, step by step
    audio              -> [<codec>_encode_stream] -> tokens     (each where the network is causal)
"""

import hashlib
import json
import shutil
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import onnx
from google.protobuf import text_format

from tritone_build.codecs.base import Codec
from tritone_build.export import onnx_from_module, write_onnx
from tritone_build.model_configs import decode_config, model_config, model_name
from tritone_build.roles import role_names, roles

__all__ = ["fingerprint", "is_current", "model_names", "write_repository"]

_BUILDERS = ("layers/*.py", "codecs/*.py", "*.py")
_NO_BUILDERS = ("cli.py", "errors.py", "fidelity.py", "fixtures.py")
ONNX_FILE, MANIFEST = "model.onnx", "manifest.json"


def model_names(codec: Codec) -> dict[str, str]:
    """Role -> model name, the ensemble last."""
    return {role: model_name(codec.name, role) for role in (*role_names(codec), "decode")}


def fingerprint(checkpoint_sha256: str) -> dict[str, str]:
    """What a built model depends on: its checkpoint and the sources that turn it into a graph."""
    root = Path(__file__).parent
    sources = hashlib.sha256()
    for path in sorted({path for pattern in _BUILDERS for path in root.glob(pattern)}):
        if path.name in _NO_BUILDERS:
            continue
        sources.update(path.relative_to(root).as_posix().encode() + path.read_bytes())
    return {"checkpoint_sha256": checkpoint_sha256, "builder_sha256": sources.hexdigest()}


def is_current(repository: Path, codec: Codec) -> bool:
    """Whether every model of the codec is there, built from this checkpoint by this code."""
    wanted = fingerprint(codec.checkpoint_sha256)
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
