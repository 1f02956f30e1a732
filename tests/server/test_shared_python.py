"""A Python that came without its shared library: the launcher finds or fetches it, or says what helps."""

import hashlib
import platform
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from tritone_server import binaries as server_files
from tritone_server.binaries import ServerError, find_server
from tritone_server.shared_python import LIBRARY, SharedPythonError, shared_python, version_of

VERSION = platform.python_version()
PACKAGE = LIBRARY.partition(".so")[0]
needs_apt = pytest.mark.skipif(
    not (shutil.which("apt-get") and shutil.which("dpkg-deb")), reason="no apt on this machine"
)


@pytest.fixture(scope="session")
def library() -> Path:
    """That of the running interpreter."""
    for folder in (sysconfig.get_config_var("LIBDIR"), Path(sys.base_prefix, "lib")):
        if version_of(Path(str(folder), LIBRARY)) == VERSION:
            return Path(str(folder), LIBRARY)
    return shared_python() / LIBRARY


@pytest.fixture
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An interpreter with nothing beside it."""
    monkeypatch.setattr(sys, "base_prefix", str(tmp_path / "python"))
    (tmp_path / "python" / "lib").mkdir(parents=True)
    return tmp_path / "python" / "lib"


@pytest.fixture
def archive(library: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A distribution's archive on disk, the only source that apt knows; it has no lists of it yet."""
    tree, folder = tmp_path / "tree", tmp_path / "archive"
    (tree / "usr/lib/somewhere").mkdir(parents=True)
    (tree / "DEBIAN").mkdir()
    folder.mkdir()
    shutil.copy(library, tree / "usr/lib/somewhere" / LIBRARY)
    architecture = subprocess.check_output(["dpkg", "--print-architecture"], text=True).strip()
    about = f"Package: {PACKAGE}\nVersion: {VERSION}-1\nArchitecture: {architecture}\n"
    (tree / "DEBIAN/control").write_text(f"{about}Maintainer: nobody <nobody@invalid>\nDescription: Python\n")
    deb = folder / f"{PACKAGE}.deb"
    subprocess.run(["dpkg-deb", "-Znone", "--build", tree, deb], check=True, capture_output=True)
    digest = hashlib.sha256(deb.read_bytes()).hexdigest()
    entry = f"{about}Filename: ./{deb.name}\nSize: {deb.stat().st_size}\nSHA256: {digest}\n"
    (folder / "Packages").write_text(entry)
    (tmp_path / "sources.list").write_text(f"deb [trusted=yes] file:{folder} ./\n")
    (tmp_path / "lists/partial").mkdir(parents=True)
    settings = {
        "Dir::Etc::SourceList": tmp_path / "sources.list",
        "Dir::Etc::SourceParts": "/dev/null",
        "Dir::State::Lists": tmp_path / "lists",
    }
    (tmp_path / "apt.conf").write_text("".join(f'{key} "{value}";\n' for key, value in settings.items()))
    monkeypatch.setenv("APT_CONFIG", str(tmp_path / "apt.conf"))
    return folder


def test_a_library_tells_its_version(library: Path, tmp_path: Path) -> None:
    assert version_of(library) == VERSION
    assert version_of(tmp_path / LIBRARY) is None
    (tmp_path / LIBRARY).write_text("no library")
    assert version_of(tmp_path / LIBRARY) is None


def test_the_library_beside_the_interpreter_is_taken(library: Path, bare: Path, tmp_path: Path) -> None:
    shutil.copy(library, bare / LIBRARY)
    shutil.copy(library, bare / "libz.so.1")
    folder = shared_python(cache=tmp_path / "cache")
    assert [each.name for each in folder.iterdir()] == [LIBRARY]
    assert version_of(folder / LIBRARY) == VERSION


@needs_apt
@pytest.mark.usefixtures("bare", "archive")
def test_apt_fetches_the_library_once_where_it_has_no_lists_of_packages(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = shared_python(cache=tmp_path / "cache")
    assert version_of(folder / LIBRARY) == VERSION
    said = capsys.readouterr().out
    assert said == f"downloading {PACKAGE} with apt: this Python has no shared library ...\n"
    assert shared_python(cache=tmp_path / "cache") == folder
    assert not capsys.readouterr().out
    assert not list((tmp_path / "lists").glob("*Packages*")), "the machine's own lists stay as they were"


@needs_apt
@pytest.mark.usefixtures("bare", "archive")
def test_a_library_of_another_version_is_not_taken(tmp_path: Path) -> None:
    said = rf"this is Python 3\.0\.99, and the package \S+ is for {VERSION}; install the library"
    with pytest.raises(SharedPythonError, match=said):
        shared_python("3.0.99", tmp_path / "cache")
    assert not list(tmp_path.glob("cache/**/*.so*"))


@needs_apt
@pytest.mark.usefixtures("bare")
def test_every_remedy_is_named_where_apt_has_no_such_package(archive: Path, tmp_path: Path) -> None:
    (archive / "Packages").write_text("")
    said = rf"needs {LIBRARY}: apt could not download.*apt-get install {PACKAGE}.*PYTHON=.*uv or conda"
    with pytest.raises(SharedPythonError, match=said):
        shared_python(cache=tmp_path / "cache")


@pytest.mark.usefixtures("bare")
def test_a_machine_without_apt_is_told_the_remedies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SharedPythonError, match=r"this machine has no apt.*uv or conda.*--enable-shared"):
        shared_python(cache=tmp_path / "cache")


def lacking(name: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The dynamic linker finds everything but this."""
    listing = folder / "ldd"
    listing.write_text(f"#!/bin/sh\necho '  {name} => not found'\n")
    listing.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")


def test_the_server_is_started_with_the_library(
    library: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lacking(LIBRARY, tmp_path, monkeypatch)
    monkeypatch.setattr(server_files, "shared_python", lambda: library.parent)
    monkeypatch.setattr(server_files, "_refuse_missing_libraries", lambda *_: None)
    assert find_server()[2]["LD_LIBRARY_PATH"].endswith(f":{library.parent}")


def test_another_library_that_the_server_lacks_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lacking("libwhatever.so.7", tmp_path, monkeypatch)
    with pytest.raises(
        ServerError, match=r"stub needs libwhatever\.so\.7, which this machine lacks; install"
    ):
        find_server()
