"""Writing what a built model was made of: its ``manifest.json``."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tritone_build.files import written_whole
from tritone_runtime.manifests import MANIFEST

__all__ = ["fingerprint", "write_manifest"]

_BUILDERS = ("layers/*.py", "codecs/*.py", "checkpoints/*.py", "graphs/*.py", "repository/*.py", "state.py")
_NO_BUILDERS = (
    "checkpoints/file_kinds.py",
    "checkpoints/fixtures.py",
    "graphs/fidelity.py",
    "repository/engine_configs.py",
)


def fingerprint(checkpoint_sha256: str) -> dict[str, str]:
    """What a built model depends on: its checkpoint and the sources that turn it into a graph."""
    root = Path(__file__).parents[1]
    sources = hashlib.sha256()
    for path in sorted({path for pattern in _BUILDERS for path in root.glob(pattern)}):
        if path.relative_to(root).as_posix() in _NO_BUILDERS:
            continue
        sources.update(path.relative_to(root).as_posix().encode() + path.read_bytes())
    return {"checkpoint_sha256": checkpoint_sha256, "builder_sha256": sources.hexdigest()}


def write_manifest(version: Path, manifest: Mapping[str, Any]) -> None:
    """Whole or not at all."""
    with written_whole(version / MANIFEST) as partial:
        partial.write_text(json.dumps(manifest, indent=2) + "\n")
