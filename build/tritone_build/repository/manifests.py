"""Writes ``manifest.json``, which says what a model was built from."""

import ast
import hashlib
import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from tritone_build.files import atomic_write
from tritone_runtime.manifests import MANIFEST

__all__ = ["fingerprint", "write_manifest"]

_BUILDERS = (
    *("layers/**/*.py", "codecs/**/*.py", "checkpoints/*.py", "graphs/*.py", "repository/*.py"),
    *("guard.py", "state.py", "timeline.py"),
)
_NO_BUILDERS = (
    "checkpoints/file_kinds.py",
    "checkpoints/fixtures.py",
    "repository/engine_configs.py",
)


def fingerprint(checkpoint_sha256: str) -> dict[str, str]:
    """Return the hashes that a built model depends on: of its checkpoint, and of the code that builds it."""
    return {"checkpoint_sha256": checkpoint_sha256, "builder_sha256": _builder_sha256()}


@cache
def _builder_sha256() -> str:
    root, sources = Path(__file__).parents[1], hashlib.sha256()
    for path in sorted({path for pattern in _BUILDERS for path in root.glob(pattern)}):
        name = path.relative_to(root).as_posix()
        if name not in _NO_BUILDERS:
            sources.update(f"{name}\n{_code_of(path.read_text())}".encode())
    return sources.hexdigest()


def _code_of(source: str) -> str:
    """Return code without comments and docstrings, so that editing those does not rebuild models."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list):
            node.body = [each for each in body if not _is_text(each)]  # type: ignore[attr-defined]
    return ast.dump(tree)


def _is_text(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def write_manifest(version: Path, manifest: Mapping[str, Any]) -> None:
    """Write a manifest atomically."""
    with atomic_write(version / MANIFEST) as partial:
        partial.write_text(json.dumps(manifest, indent=2) + "\n")
