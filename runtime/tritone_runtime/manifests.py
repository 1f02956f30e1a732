"""Files of a built model, and its ``manifest.json``, which records what it was made of."""

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
    "HASHES",
    "MANIFEST",
    "ONNX_FILE",
    "PROGRAM_FACTS",
    "PROGRAM_FILE",
    "ModelDescription",
    "data_files",
    "read_manifest",
    "sha256_of",
]

MANIFEST, ENGINE_FILE, ONNX_FILE, DATA_SUFFIX = "manifest.json", "model.plan", "model.onnx", ".data"
PROGRAM_FILE, PROGRAM_FACTS = "model.pt2", "tritone.json"
"""A program of PyTorch (``torch.export``), and the file in it with what the runtime must know."""
FORMAT = 2
"""Version of the file format of a built model; builder and runtime must agree on it."""

HASHES = {ONNX_FILE: "onnx_sha256", PROGRAM_FILE: "program_sha256"}
"""Entries of the manifest with the SHA-256 of a model's files."""


@dataclass(frozen=True)
class ModelDescription:
    """How to call a model: the manifest's entry ``model``. Triton reads the same from the model's config.

    Attributes:
        inputs: names of the input tensors.
        outputs: names of the output tensors.
        parameters: parameters of the model's config, for clients.
        most_rows: most rows in a batch.
        idle_limit_s: a stream without requests ends after this time; None for a stateless model.
        pipeline: models that an ensemble runs one after the other, with the same tensor names.
    """

    inputs: Sequence[str]
    outputs: Sequence[str]
    parameters: Mapping[str, str]
    most_rows: int
    idle_limit_s: float | None = None
    pipeline: Sequence[str] = ()


def data_files(graph: Path) -> list[Path]:
    """Files of weights in the folder of a graph."""
    return sorted(graph.parent.glob(f"*{DATA_SUFFIX}"))


def sha256_of(*paths: Path) -> str:
    """SHA-256 of a file; for several files, the hash of their hashes."""
    digests = []
    for path in paths:
        with path.open("rb") as file:
            digests.append(hashlib.file_digest(file, "sha256"))
    if len(digests) == 1:
        return digests[0].hexdigest()
    return hashlib.sha256(b"".join(digest.digest() for digest in digests)).hexdigest()


def read_manifest(version: Path) -> dict[str, Any]:
    """The manifest in a model's version folder; empty if it is missing or damaged."""
    try:
        read = json.loads((version / MANIFEST).read_text())
    except (FileNotFoundError, ValueError):
        return {}
    return read if isinstance(read, dict) else {}
