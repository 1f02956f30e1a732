"""Triton's backend ``tritone``: the launcher copies this file as ``model.py``, next to its packages."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from tritone_server.backend.model import TritonPythonModel

__all__ = ["TritonPythonModel"]
