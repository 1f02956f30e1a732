"""Writing what a built model was made of: its ``manifest.json``."""

import ast
import hashlib
import json
from collections.abc import Mapping
from functools import cache
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
    """What a built model depends on: its checkpoint and the code that turns it into a graph."""
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
    """Python without its comments and docstrings, so that better words build nothing again."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list):
            node.body = [each for each in body if not _is_text(each)]  # type: ignore[attr-defined]
    return ast.dump(tree)


def _is_text(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def write_manifest(version: Path, manifest: Mapping[str, Any]) -> None:
    """Whole or not at all."""
    with written_whole(version / MANIFEST) as partial:
        partial.write_text(json.dumps(manifest, indent=2) + "\n")
