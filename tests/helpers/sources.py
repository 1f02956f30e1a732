"""The repository's files and their syntax trees, for tests of the house rules."""

import ast
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from helpers.paths import ROOT

__all__ = ["PACKAGES", "Source", "imported", "sources", "tracked"]

PACKAGES = ("runtime", "server", "build", "client")
"""Folders of the product's packages; each holds ``tritone_<folder>``."""


@dataclass(frozen=True)
class Source:
    """A Python file: its path within the repository, its text and its syntax tree."""

    path: Path
    text: str
    tree: ast.Module

    @property
    def package(self) -> str:
        """The top folder: one of :data:`PACKAGES`, ``scripts`` or ``tests``."""
        return self.path.parts[0]


@cache
def tracked() -> tuple[Path, ...]:
    """Files that git tracks, and new ones that it does not ignore, within the repository."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    listed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    return tuple(
        path for path in map(Path, sorted(set(listed.split("\0")) - {""})) if (ROOT / path).is_file()
    )


@cache
def sources() -> tuple[Source, ...]:
    """Every Python file of the repository."""
    texts = {path: (ROOT / path).read_text() for path in tracked() if path.suffix == ".py"}
    return tuple(Source(path, text, ast.parse(text, str(path))) for path, text in texts.items())


def imported(tree: ast.Module) -> Iterator[str]:
    """Dotted names of the modules that a file imports, also inside functions; without relative imports."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module
