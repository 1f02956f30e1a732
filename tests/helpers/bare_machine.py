"""A Python that imports only the packages of a bare GPU machine, and those that are carried there."""

import json
import os
import subprocess
import sys
import venv
from pathlib import Path

from helpers.paths import ROOT

__all__ = ["BareMachine"]

_MACHINE = (
    *("torch", "torchgen", "functorch", "numpy", "onnx", "onnxruntime", "safetensors"),
    *("sympy", "mpmath", "networkx", "jinja2", "markupsafe", "filelock", "fsspec", "typing_extensions"),
    *("ml_dtypes", "flatbuffers", "packaging", "setuptools", "pkg_resources", "pip"),
)
_CARRIED = ("tritonclient", "rapidjson", "omegaconf", "google", "grpc", "yaml", "_yaml", "psutil", "rich")
_CARRIED_TOO = ("markdown_it", "mdurl", "pygments")
_OURS = ("scripts", "tritone_build", "tritone_runtime", "tritone_server", "tritone_client")
_OF_SERVER = ("model", "triton_python_backend_utils", "c_python_backend_utils")
_SITECUSTOMIZE = '''
import importlib.machinery
import sys

class _Bare(importlib.machinery.PathFinder):
    """Finds the modules of a bare machine."""

    @classmethod
    def find_spec(cls, name, path=None, target=None):
        if name.partition(".")[0] not in _KNOWN and not name.startswith("_sysconfigdata"):
            return None
        return super().find_spec(name, path, target)

_KNOWN = sys.stdlib_module_names | set(NAMES)
sys.meta_path[sys.meta_path.index(importlib.machinery.PathFinder)] = _Bare
'''


class BareMachine:
    """A virtual environment without any command of ours, and a folder to work in."""

    def __init__(self, folder: Path):
        self.work, self._environment = folder / "work", folder / "environment"
        self.work.mkdir()
        venv.create(self._environment, symlinks=True)
        (site,) = self._environment.glob("lib/python*/site-packages")
        installed = [path for path in sys.path if path.endswith("site-packages")]
        ours = [str(ROOT / name) for name in ("build", "runtime", "server", "client")]
        (site / "bare.pth").write_text("\n".join([*ours, *installed]) + "\n")
        names = [*_MACHINE, *_CARRIED, *_CARRIED_TOO, *_OURS, *_OF_SERVER]
        (site / "sitecustomize.py").write_text(_SITECUSTOMIZE.replace("NAMES", json.dumps(names)))

    def command(self, *arguments: str) -> list[str]:
        """The command line of this Python."""
        return [str(self._environment / "bin" / "python"), *arguments]

    @staticmethod
    def path_of_ours() -> dict[str, str]:
        """The environment variables of this process, with the repository's scripts on Python's path."""
        return {**os.environ, "PYTHONPATH": str(ROOT)}

    @property
    def variables(self) -> dict[str, str]:
        """The environment variables, whose path has no command of ours."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
        return kept | {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT)}

    def run(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """Run this Python to its end."""
        return subprocess.run(
            self.command(*arguments),
            cwd=self.work,
            env=self.variables,
            capture_output=True,
            text=True,
            check=False,
        )
