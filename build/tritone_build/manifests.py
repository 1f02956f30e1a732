"""What a built model was made of, in a ``manifest.json`` beside it."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tritone_build.files import written_whole

__all__ = ["ENGINE_FILE", "MANIFEST", "fingerprint", "read_manifest", "sha256_of", "write_manifest"]

MANIFEST, ENGINE_FILE = "manifest.json", "model.plan"
_BUILDERS = ("layers/*.py", "codecs/*.py", "*.py")
_NO_BUILDERS = (
    "cli.py",
    "compiler.py",
    "engine_configs.py",
    "engines.py",
    "engines_cli.py",
    "errors.py",
    "file_kinds.py",
    "files.py",
    "fidelity.py",
    "fit.py",
    "fixtures.py",
    "gpu.py",
    "graph_fidelity.py",
    "inspection.py",
    "options.py",
    "profiles.py",
    "trt_errors.py",
)


def fingerprint(checkpoint_sha256: str) -> dict[str, str]:
    """What a built model depends on: its checkpoint and the sources that turn it into a graph."""
    root = Path(__file__).parent
    sources = hashlib.sha256()
    for path in sorted({path for pattern in _BUILDERS for path in root.glob(pattern)}):
        if path.name in _NO_BUILDERS:
            continue
        sources.update(path.relative_to(root).as_posix().encode() + path.read_bytes())
    return {"checkpoint_sha256": checkpoint_sha256, "builder_sha256": sources.hexdigest()}


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


def write_manifest(version: Path, manifest: Mapping[str, Any]) -> None:
    """Whole or not at all."""
    with written_whole(version / MANIFEST) as partial:
        partial.write_text(json.dumps(manifest, indent=2) + "\n")
