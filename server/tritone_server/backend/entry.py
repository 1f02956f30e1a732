"""Triton's backend ``tritone``: the launcher copies this file as ``model.py``, its packages beside it."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from tritone_server.backend.model import TritonPythonModel

__all__ = ["TritonPythonModel"]
