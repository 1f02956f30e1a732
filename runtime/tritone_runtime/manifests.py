"""The files of a built model, and the ``manifest.json`` that says what it was made of."""

import hashlib
import json
from pathlib import Path
from typing import Any

__all__ = ["DATA_SUFFIX", "ENGINE_FILE", "MANIFEST", "ONNX_FILE", "data_files", "read_manifest", "sha256_of"]

MANIFEST, ENGINE_FILE, ONNX_FILE, DATA_SUFFIX = "manifest.json", "model.plan", "model.onnx", ".data"


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
    """Of a model's version folder; empty where there is none."""
    path = version / MANIFEST
    read: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    return read
