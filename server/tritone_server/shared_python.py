"""Find or download this Python's shared library ``libpython3.N.so.1.0``, which Triton's Python backend loads.

Pythons of uv and conda include the library. Debian's and Ubuntu's ``python3`` do not, so apt downloads the
library's package and dpkg unpacks it into the cache; neither needs root.
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
    """The library is neither on this machine nor downloadable; the message gives the reason and remedies."""


def shared_python(version: str | None = None, cache: Path = CACHE) -> Path:
    """A folder that contains only the interpreter's shared library.

    Args:
        version: the interpreter's version, such as ``3.11.2``; by default that of the running one.
        cache: the folder where a downloaded library is kept.

    Raises:
        SharedPythonError: no library of this version is on this machine, and none can be downloaded.
    """
    version = version or platform.python_version()
    folder = cache / "shared_python" / version
    if version_of(folder / LIBRARY) == version:
        return folder
    beside = Path(sys.base_prefix, "lib", LIBRARY)
    if version_of(beside) == version:
        return _kept(folder, beside)
    with tempfile.TemporaryDirectory() as scratch:
        return _kept(folder, _library_from_apt(Path(scratch), version))


def version_of(library: Path) -> str | None:
    """The version of Python in a library, such as ``3.11.2``; None if it is missing or cannot be loaded."""
    if not library.exists():
        return None
    command = [sys.executable, "-c", _VERSION_OF, str(library)]
    words = subprocess.run(command, check=False, capture_output=True, text=True).stdout.split()
    return words[0] if words else None


def _kept(folder: Path, library: Path) -> Path:
    """Copy the library into the folder atomically; return the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=folder, delete=False) as partial:
        partial.close()
        shutil.copy(library, partial.name)
        Path(partial.name).rename(folder / LIBRARY)
    return folder


def _library_from_apt(scratch: Path, version: str) -> Path:
    """The library from the distribution's package.

    Raises:
        SharedPythonError: there is no apt, apt has no such package, or the package has another version.
    """
    package = f"libpython{_MINOR}"
    if not (shutil.which("apt-get") and shutil.which("dpkg")):
        raise _error("this machine has no apt to download it with")
    print(f"downloading {package} with apt: this Python has no shared library ...", flush=True)
    archive = _downloaded(package, scratch)
    _run(["dpkg", "-x", str(archive), str(scratch)], scratch)
    found = [path for path in scratch.rglob(LIBRARY) if not path.is_symlink()]
    held = version_of(found[0]) if found else None
    if held != version:
        raise _error(f"this is Python {version}, and the package {archive.name} is for {held or 'no Python'}")
    return found[0]


def _downloaded(package: str, scratch: Path) -> Path:
    """Download the package's archive with the machine's package lists; if that fails, with updated lists."""
    reason = "apt gave no reason"
    for options in _apt_options(scratch):
        for wanted in _wanted(package):
            done = _run(["apt-get", *options, "download", wanted], scratch)
            archives = list(scratch.glob(f"{package}_*.deb"))
            if archives:
                return archives[0]
            reason = (done.stderr.strip().splitlines() or [reason])[-1]
    raise _error(f"apt could not download {package} ({reason})")


def _apt_options(scratch: Path) -> Iterator[Sequence[str]]:
    """Yield no options; then, after an update, the options that make apt use package lists in this folder."""
    yield ()
    for name in ("lists", "archives"):
        (scratch / name / "partial").mkdir(parents=True)
    settings = {
        "Dir::State::Lists": scratch / "lists",
        "Dir::Cache": scratch,
        "Dir::Cache::Archives": scratch / "archives",
        "Acquire::Languages": "none",
        "APT::Sandbox::User": "root",  # otherwise root's apt downloads as a user who may not write here
    }
    options = [part for name, value in settings.items() for part in ("-o", f"{name}={value}")]
    # The exit status is ignored: some of the machine's hooks need root and fail after the lists are there.
    _run(["apt-get", *options, "update"], scratch)
    yield options


def _wanted(package: str) -> Sequence[str]:
    """The package in the version of the installed interpreter, if dpkg knows it; then in the newest."""
    query = ["dpkg-query", "--show", "--showformat=${Version}", f"{package}-minimal"]
    installed = _run(query, Path.cwd()).stdout
    return (f"{package}={installed}", package) if installed else (package,)


def _run(command: Sequence[str], folder: Path) -> "subprocess.CompletedProcess[str]":
    environment = os.environ | {"LC_ALL": "C"}
    return subprocess.run(command, check=False, cwd=folder, env=environment, capture_output=True, text=True)


def _error(reason: str) -> SharedPythonError:
    return SharedPythonError(f"the server's Python backend needs {LIBRARY}: {reason}; {_REMEDIES}")
