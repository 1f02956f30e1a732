"""The files of a built model, and the ``manifest.json`` that says what it was made of."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = [
    "DATA_SUFFIX",
    "ENGINE_FILE",
    "FORMAT",
    "MANIFEST",
    "ONNX_FILE",
    "ModelDescription",
    "data_files",
    "read_manifest",
    "sha256_of",
]

MANIFEST, ENGINE_FILE, ONNX_FILE, DATA_SUFFIX = "manifest.json", "model.plan", "model.onnx", ".data"
FORMAT = 2
"""Of the files of a built model; builder and runtime must agree on it."""


@dataclass(frozen=True)
class ModelDescription:
    """What the manifest says, under ``model``, about calling a model; Triton reads it from its config.

    Attributes:
        inputs: names of the tensors that callers give.
        outputs: names of the tensors that callers get.
        parameters: of the model's config, for clients.
        most_rows: in one batch.
        idle_limit_s: after which a silent stream ends; None for a stateless model.
        pipeline: models that an ensemble runs in turn; tensors keep their names from one to the next.
    """

    inputs: Sequence[str]
    outputs: Sequence[str]
    parameters: Mapping[str, str]
    most_rows: int
    idle_limit_s: float | None = None
    pipeline: Sequence[str] = ()


def data_files(graph: Path) -> list[Path]:
    """Files of weights beside a graph."""
    return sorted(graph.parent.glob(f"*{DATA_SUFFIX}"))


def sha256_of(*paths: Path) -> str:
    """Of a file; of several, the hash of their hashes."""
    digests = []
    for path in paths:
        with path.open("rb") as file:
            digests.append(hashlib.file_digest(file, "sha256"))
    if len(digests) == 1:
        return digests[0].hexdigest()
    return hashlib.sha256(b"".join(digest.digest() for digest in digests)).hexdigest()


def read_manifest(version: Path) -> dict[str, Any]:
    """Of a model's version folder; empty where there is none, or it is damaged."""
    try:
        read = json.loads((version / MANIFEST).read_text())
    except (FileNotFoundError, ValueError):
        return {}
    return read if isinstance(read, dict) else {}
