"""Find the Triton server: the one of NVIDIA's container, or else the one in a wheel on PyPI."""

import hashlib
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path

import tritone_runtime
from tritone_server.cache import CACHE
from tritone_server.shared_python import LIBRARY, SharedPythonError, shared_python
from tritone_server.wheels import Wheel

__all__ = ["ServerError", "find_server", "shell_path"]

_PYTRITON = Wheel(
    "nvidia-pytriton==0.7.0",
    "21f063ff93bb426d0c06b7a55e7eb9efcfe62c0dddd9a908e9877e18710128df",
    ("pytriton/tritonserver/", "nvidia_pytriton.libs/"),
)
_CONTAINER = Path("/opt/tritonserver")
_TEMPORARY = ("/tmp", "/var/tmp", "/dev/shm")  # noqa: S108 - we make private folders in them
_PLAIN = re.compile(r"[\w@%+=:,./-]+", re.ASCII)
_OLDEST = (3, 11)
_OURS, _ENTRY = "tritone", Path(__file__).parent / "backend" / "entry.py"


class ServerError(RuntimeError):
    """The server cannot start, did not become ready, or ended; the message gives the reason."""


def find_server() -> tuple[Path, Path, dict[str, str]]:
    """The server's binary, its folder of backends, and the environment variables it needs.

    Raises:
        ServerError: no server runs with this Python on this machine.
        WheelError: the server's wheel cannot be downloaded.
    """
    return _container() or _from_pypi()


def _container() -> tuple[Path, Path, dict[str, str]] | None:
    """The server of NVIDIA's container, if this process runs in a container with the ONNX Runtime backend."""
    executable = shutil.which("tritonserver") or str(_CONTAINER / "bin" / "tritonserver")
    backends = _CONTAINER / "backends"
    if Path(executable).exists() and (backends / "onnxruntime").is_dir():
        with suppress(PermissionError):  # TensorRT engines do not need our backend
            _copy_our_backend(backends)
        return Path(executable), backends, {}
    return None


def _from_pypi() -> tuple[Path, Path, dict[str, str]]:
    """The server from the nvidia-pytriton wheel, with our backend next to its Python backend."""
    files = _PYTRITON.unpacked()
    root, libraries = files / "pytriton" / "tritonserver", files / "nvidia_pytriton.libs"
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    stub = root / "python_backend_stubs" / version / "triton_python_backend_stub"
    if not stub.exists():
        raise ServerError(
            f"this is Python {version}, and the server's Python backend exists for "
            f"{_known(stub.parents[1])}; install tritone-server with one of these"
        )
    environment = {
        "LD_LIBRARY_PATH": ":".join(filter(None, [str(libraries), sysconfig.get_config_var("LIBDIR")])),
        # Huge pages for weights: one frame reads all of them, and TLB misses would cost 0.5 ms.
        "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1",
        # The stub embeds an isolated interpreter, which ignores PYTHONPATH and finds our packages by PATH.
        "PATH": f"{Path(sys.prefix, 'bin')}:{os.environ.get('PATH', '')}",
    }
    if LIBRARY in _missing_libraries(stub, environment):
        environment["LD_LIBRARY_PATH"] += f":{_shared_python()}"
    _refuse_missing_libraries(stub, environment)
    backends = CACHE / "backends" / _version_of(stub)
    _copy([*(root / "backends" / "python").iterdir(), stub], backends / "python")
    _copy_our_backend(backends)
    return root / "bin" / "tritonserver", shell_path(backends), environment


def _known(stubs: Path) -> str:
    """The supported versions of Python that the server has a backend for, separated by commas."""
    versions = sorted(tuple(map(int, path.name.split("."))) for path in stubs.iterdir())
    return ", ".join(f"{major}.{minor}" for major, minor in versions if (major, minor) >= _OLDEST)


def shell_path(folder: Path) -> Path:
    """A path to the folder that a shell reads as one word: the folder itself, or a symbolic link to it.

    The server starts each model's process with a shell command that contains paths without quotes. The link
    lies in a folder that only this user can write to, and is removed when this program ends.

    Raises:
        ServerError: no temporary folder has a path that a shell reads as one word.
    """
    if _PLAIN.fullmatch(str(folder)):
        return folder
    link = Path(_private_folder().name, re.sub(r"\W", "_", folder.name, flags=re.ASCII))
    if not link.is_symlink():
        link.symlink_to(folder)
    return link


@cache
def _private_folder() -> "tempfile.TemporaryDirectory[str]":
    for parent in (tempfile.gettempdir(), *_TEMPORARY):
        if _PLAIN.fullmatch(parent):
            with suppress(OSError):
                return tempfile.TemporaryDirectory(prefix="tritone-", dir=parent)
    raise ServerError(
        f"the path {CACHE} has characters with a meaning to a shell, such as a space, and no temporary "
        "folder can hold a link to it; set TMPDIR or TRITONE_CACHE to a folder whose path has only letters, "
        "digits and ._-/"
    )


def _shared_python() -> Path:
    try:
        return shared_python()
    except SharedPythonError as error:
        raise ServerError(str(error)) from error


def _missing_libraries(executable: Path, environment: dict[str, str]) -> list[str]:
    listing = subprocess.run(
        ["ldd", executable], check=False, env=os.environ | environment, capture_output=True, text=True
    )
    return re.findall(r"(\S+) => not found", listing.stdout)


def _refuse_missing_libraries(executable: Path, environment: dict[str, str]) -> None:
    missing = _missing_libraries(executable, environment)
    if missing:
        raise ServerError(
            f"the server's {executable.name} needs {', '.join(missing)}, which this machine lacks; "
            "install the packages of your distribution that contain them"
        )


def _copy_our_backend(backends: Path) -> None:
    """Copy the backend ``tritone`` and the packages it imports, so that Triton needs none installed."""
    folder = backends / _OURS
    for within, path in _our_sources():
        _copy([path], folder / within.parent)
    _copy_as(_ENTRY, folder / "model.py")


def _our_sources() -> Iterator[tuple[Path, Path]]:
    """Files of the backend: where each belongs in its folder, and where it is now."""
    for package in (Path(tritone_runtime.__file__).parent, _ENTRY.parents[1]):
        for path in sorted(package.rglob("*.py")):
            within = path.relative_to(package)
            if package != _ENTRY.parents[1] or within.parts[0] in ("__init__.py", "backend"):
                yield Path(package.name, within), path


def _version_of(stub: Path) -> str:
    """A name for these sources and this Python: a server that runs keeps its files when they change."""
    digest = hashlib.sha256(str(stub).encode())
    for within, path in _our_sources():
        digest.update(f"{within}\n".encode() + path.read_bytes())
    return digest.hexdigest()[:16]


def _copy(files: Iterator[Path] | Sequence[Path], folder: Path) -> None:
    """Copy files atomically, since servers may start at once; Triton takes no symbolic links."""
    folder.mkdir(parents=True, exist_ok=True)
    for file in files:
        _copy_as(file, folder / file.name)


def _copy_as(file: Path, target: Path) -> None:
    partial = target.with_name(f".{target.name}.{os.getpid()}.{threading.get_ident()}")
    shutil.copy2(file, partial)
    partial.rename(target)
