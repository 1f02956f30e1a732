"""Where the models of a test run."""

from pathlib import Path
from typing import TypeAlias

__all__ = ["Place"]

Place: TypeAlias = str | Path
"""The address of a server, or the folder of a repository whose models run in this process."""
