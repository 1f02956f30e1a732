"""Each package installs without a clone, with the dependencies that it names and nothing else."""

import ast
import json
import re
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator, Mapping
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

import pytest
from helpers.paths import ROOT
from helpers.sources import PACKAGES, imported, sources, tracked

_OURS = {f"tritone_{package}": f"tritone-{package}" for package in PACKAGES}
_OF_TRITON = "triton_python_backend_utils"
"""Triton's Python backend gives it to the processes of models; it is in no package."""
_NOT_IMPORTED = {
    "server": {"pip": "the launcher runs it to download the server"},
    "client": {"websockets": "uvicorn answers live players and sockets with it"},
    "build": {"tensorrt-rtx": "engines.compiler imports the compiler that it finds, by a computed name"},
}
"""Dependencies that are used without an import of a fixed name, and how."""
_PARTIAL = (
    "tritone_client.gateway",
    "tritone_client.page",
    "tritone_client.transport.local",
    "tritone_runtime.executors.cuda_graphs",
    "tritone_runtime.executors.device_slots",
    "tritone_runtime.executors.tensorrt",
    "tritone_runtime.executors.torch",
)
"""Modules that need an extra."""
_IMPORT_ALL = """
import importlib, json, pkgutil, sys
package, missing = importlib.import_module(sys.argv[1]), {}
for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
    try:
        importlib.import_module(found.name)
    except ImportError as error:
        missing[found.name] = [type(error).__name__, error.name]
print(json.dumps(missing))
"""


def project(package: str) -> dict[str, Any]:
    table: dict[str, Any] = tomllib.loads((ROOT / package / "pyproject.toml").read_text())["project"]
    return table


def canonical(requirement: str) -> str:
    """The distribution's name in a requirement, as indexes spell it."""
    (name,) = re.findall(r"^[\w.-]+", requirement)
    return re.sub(r"[-_.]+", "-", name).lower()


def named(package: str) -> set[str]:
    """Distributions that a package names, those of its extras included."""
    table = project(package)
    extras = [each for group in table.get("optional-dependencies", {}).values() for each in group]
    return {canonical(each) for each in [*table["dependencies"], *extras]}


def by_name(tree: ast.Module) -> Iterator[str]:
    """Modules that a file imports by ``import_module`` of a constant."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module"):
            yield from (
                each.value
                for each in node.args
                if isinstance(each, ast.Constant) and isinstance(each.value, str)
            )


def needed(package: str) -> dict[str, set[str]]:
    """The distributions that may provide each foreign module that a package imports."""
    own = [source.tree for source in sources() if source.package == package]
    tops = {name.partition(".")[0] for tree in own for name in [*imported(tree), *by_name(tree)]}
    tops -= set(sys.stdlib_module_names) | {f"tritone_{package}", _OF_TRITON}
    installed = {**packages_distributions(), **{name: [dist] for name, dist in _OURS.items()}}
    return {top: {canonical(each) for each in installed.get(top, [f"{top}, not installed"])} for top in tops}


@pytest.mark.parametrize("package", PACKAGES)
def test_a_package_names_all_that_it_imports(package: str) -> None:
    lacking = {top: found for top, found in needed(package).items() if not found & named(package)}
    assert lacking == {}


@pytest.mark.parametrize("package", PACKAGES)
def test_a_package_imports_all_that_it_names(package: str) -> None:
    used = set().union(*needed(package).values()) | set(_NOT_IMPORTED.get(package, {}))
    assert named(package) - used == set()


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a wheel of each package, built from its folder."""
    folder = tmp_path_factory.mktemp("wheels")
    pip("wheel", "--no-deps", "--wheel-dir", folder, *(ROOT / package for package in PACKAGES))
    return folder


def pip(*arguments: object) -> None:
    command = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("package", PACKAGES)
def test_a_wheel_holds_the_packages_files_and_no_others(package: str, wheels: Path) -> None:
    (wheel,) = wheels.glob(f"tritone_{package}-*.whl")
    held = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    inside = Path(package, f"tritone_{package}")
    expected = {str(path.relative_to(package)) for path in tracked() if path.is_relative_to(inside)}
    assert held == expected
    assert f"tritone_{package}/py.typed" in held


def test_wheels_bring_what_is_no_code(wheels: Path) -> None:
    brought = {
        "build": ["codecs/nanocodec_mini.nemo", "engines/speech_tokens.npy"],
        "client": [
            *("page/live.html", "page/page.css", "page/page.js"),
            *("gateway/web/demo.html", "gateway/web/demo.js", "gateway/web/openapi.json"),
        ],
    }
    for package, names in brought.items():
        (wheel,) = wheels.glob(f"tritone_{package}-*.whl")
        assert {f"tritone_{package}/{name}" for name in names} <= set(zipfile.ZipFile(wheel).namelist())


def environment(folder: Path, wheels: Path, requirement: str) -> Path:
    """The ``bin`` of a new environment, which holds the requirement and what that asks for."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    pinned = folder / "constraints.txt"  # may name no extras
    pinned.write_text(re.sub(r"\[.*?\]", "", (ROOT / "requirements.txt").read_text()))
    into = ("--python", folder / "bin" / "python", "install")
    pip(*into, "--find-links", wheels, "--constraint", pinned, requirement)
    return folder / "bin"


def run(command: list[str | Path], folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=folder, env={}, capture_output=True, text=True, check=False)


def failed_imports(programs: Path, package: str) -> Mapping[str, tuple[str, str | None]]:
    """Modules of a package that cannot be imported: the error's class, and the module that is missing."""
    done = run([programs / "python", "-c", _IMPORT_ALL, f"tritone_{package}"], programs)
    assert done.returncode == 0, done.stderr
    found: dict[str, tuple[str, str | None]] = json.loads(done.stdout)
    return found


def refuse_others(failed: Mapping[str, tuple[str, str | None]]) -> None:
    """Only modules that need an extra, or Triton around them, may fail."""
    for module, (kind, missing) in failed.items():
        if missing == _OF_TRITON:
            assert module.startswith("tritone_server.backend")
        elif kind != "MissingExtraError":
            assert module.startswith(_PARTIAL), f"{module} needs {missing}"


def test_the_client_installs_alone(wheels: Path, tmp_path: Path) -> None:
    programs = environment(tmp_path, wheels, "tritone-client")
    refuse_others(failed_imports(programs, "client"))
    assert run([programs / "tritone", "--help"], tmp_path).returncode == 0
    page = run([programs / "tritone", "page"], tmp_path)
    assert page.returncode == 1
    assert page.stderr == "tritone: the page needs the page extra: pip install 'tritone-client[page]'\n"


def test_the_runtime_installs_alone(wheels: Path, tmp_path: Path) -> None:
    programs = environment(tmp_path, wheels, "tritone-runtime")
    refuse_others(failed_imports(programs, "runtime"))


def test_the_server_installs_with_the_client_and_the_runtime(wheels: Path, tmp_path: Path) -> None:
    programs = environment(tmp_path, wheels, "tritone-server")
    for package in ("server", "client", "runtime"):
        refuse_others(failed_imports(programs, package))
    assert run([programs / "tritone-serve", "--help"], tmp_path).returncode == 0
    without_models = run([programs / "tritone-serve"], tmp_path)
    assert without_models.returncode == 1
    assert "build one with 'tritone-build models NAME'" in without_models.stderr
