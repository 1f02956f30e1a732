"""The shared library of this Python, which the server's Python backend loads: ``libpython3.N.so.1.0``.

Pythons of uv and conda carry it beside the interpreter. Debian's and Ubuntu's ``python3`` come without it,
so its package is downloaded by apt and unpacked into the cache; neither step needs root.
"""

import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from tritone_server.cache import CACHE

__all__ = ["LIBRARY", "SharedPythonError", "shared_python"]

_MINOR = f"{sys.version_info.major}.{sys.version_info.minor}"
LIBRARY = f"libpython{_MINOR}.so.1.0"
_VERSION_OF = (
    "import ctypes, sys; version = ctypes.CDLL(sys.argv[1]).Py_GetVersion; "
    "version.restype = ctypes.c_char_p; print(version().decode())"
)
_REMEDIES = (
    f"install the library (Debian and Ubuntu: apt-get install libpython{_MINOR}), or make the environment "
    "with another Python (in a clone: remove .venv and name it with PYTHON=...): one of uv or conda, which "
    "include the library, or one that was built with --enable-shared"
)


class SharedPythonError(RuntimeError):
    """The library is not on this machine and cannot be fetched; the message says why and what helps."""


def shared_python(version: str | None = None, cache: Path = CACHE) -> Path:
    """A folder with the library of this interpreter and nothing else.

    Args:
        version: of the interpreter, as ``3.11.2``; this one's by default.
        cache: where a fetched library is kept.

    Raises:
        SharedPythonError: none of this version is here, and none can be fetched.
    """
    version = version or platform.python_version()
    folder = cache / "shared_python" / version
    if version_of(folder / LIBRARY) == version:
        return folder
    beside = Path(sys.base_prefix, "lib", LIBRARY)
    if version_of(beside) == version:
        return _kept(folder, beside)
    with tempfile.TemporaryDirectory() as scratch:
        return _kept(folder, _fetched(Path(scratch), version))


def version_of(library: Path) -> str | None:
    """Of the Python that a library holds, as ``3.11.2``; None where it is missing or cannot be loaded."""
    if not library.exists():
        return None
    asked = [sys.executable, "-c", _VERSION_OF, str(library)]
    said = subprocess.run(asked, check=False, capture_output=True, text=True).stdout.split()
    return said[0] if said else None


def _kept(folder: Path, library: Path) -> Path:
    """The folder with a copy of the library, which appears whole."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=folder, delete=False) as partial:
        partial.close()
        shutil.copy(library, partial.name)
        Path(partial.name).rename(folder / LIBRARY)
    return folder


def _fetched(scratch: Path, version: str) -> Path:
    """The library out of the distribution's package.

    Raises:
        SharedPythonError: there is no apt, it has no such package, or the package is of another version.
    """
    package = f"libpython{_MINOR}"
    if not (shutil.which("apt-get") and shutil.which("dpkg")):
        raise _error("this machine has no apt to fetch it with")
    print(f"fetching {package} with apt, without root: this Python came without its library ...", flush=True)
    archive = _downloaded(package, scratch)
    _run(["dpkg", "-x", str(archive), str(scratch)], scratch)
    found = [path for path in scratch.rglob(LIBRARY) if not path.is_symlink()]
    held = version_of(found[0]) if found else None
    if held != version:
        raise _error(
            f"this is Python {version}, and the package {archive.name} has it for {held or 'no Python'}"
        )
    return found[0]


def _downloaded(package: str, scratch: Path) -> Path:
    """The package's archive, by the machine's lists of packages, or by fresh ones where that fails."""
    said = "apt gave no reason"
    for options in _apt_options(scratch):
        for wanted in _wanted(package):
            done = _run(["apt-get", *options, "download", wanted], scratch)
            archives = list(scratch.glob(f"{package}_*.deb"))
            if archives:
                return archives[0]
            said = (done.stderr.strip().splitlines() or [said])[-1]
    raise _error(f"apt could not fetch {package} ({said})")


def _apt_options(scratch: Path) -> Iterator[Sequence[str]]:
    """None first; then those with which apt has lists of its own in this folder, once it has fetched them."""
    yield ()
    for name in ("lists", "archives"):
        (scratch / name / "partial").mkdir(parents=True)
    chosen = {
        "Dir::State::Lists": scratch / "lists",
        "Dir::Cache": scratch,
        "Dir::Cache::Archives": scratch / "archives",
        "Acquire::Languages": "none",
        "APT::Sandbox::User": "root",  # else root's apt would fetch as a user who may not write here
    }
    options = [part for name, value in chosen.items() for part in ("-o", f"{name}={value}")]
    # Its status says little: the machine's hooks, some of which need root, run after all has been fetched.
    _run(["apt-get", *options, "update"], scratch)
    yield options


def _wanted(package: str) -> Sequence[str]:
    """The package in the version of the installed interpreter, where dpkg knows it; then in the newest."""
    query = ["dpkg-query", "--show", "--showformat=${Version}", f"{package}-minimal"]
    installed = _run(query, Path.cwd()).stdout
    return (f"{package}={installed}", package) if installed else (package,)


def _run(command: Sequence[str], folder: Path) -> "subprocess.CompletedProcess[str]":
    environment = os.environ | {"LC_ALL": "C"}
    return subprocess.run(command, check=False, cwd=folder, env=environment, capture_output=True, text=True)


def _error(reason: str) -> SharedPythonError:
    return SharedPythonError(f"the server's Python backend needs {LIBRARY}: {reason}; {_REMEDIES}")
