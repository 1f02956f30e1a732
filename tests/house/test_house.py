"""House rules that a machine can check: what imports what, sizes, and words that no file may hold."""

import ast
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from statistics import median

import pytest
from helpers.paths import ROOT
from helpers.sources import PACKAGES, Source, imported, sources, tracked

_MAY_IMPORT = {
    "runtime": set[str](),
    "build": {"tritone_runtime"},
    "client": {"tritone_runtime"},
    "server": {"tritone_runtime", "tritone_client"},
}
_OURS = {f"tritone_{package}" for package in PACKAGES} | {"scripts", "tests", "helpers"}
_IN_PROCESS = Path("client/tritone_client/transport/local.py")
"""The one module of the client that may import the runtime."""
_BACKEND = Path("server/tritone_server/backend")
_FILE_LINES, _FUNCTION_LINES, _MEDIAN_LINES, _MODULES = 300, 50, 6, 14
_CODE = {".py", ".js", ".css", ".html", ".sh"}
_BINARY = {".nemo", ".npy", ".wav"}
_HOST = re.compile(
    r"\b(pypi|pythonhosted|npmjs|anaconda|rubygems|proxy\.golang|deb\.debian|download\.pytorch)\.org\b"
    r"|\b(crates)\.io\b|\b(archive\.ubuntu)\.com\b"
)
_HOMES = "root|work|home|Users|mnt|srv|media"
_MACHINE_PATH = re.compile(rf"(?<![\w.$}}~*-])/(?:(?:{_HOMES})/\w|tmp/tmp\w)")


def foreign(source: Source) -> Iterator[str]:
    """Names of our own top packages that a file imports, without its own."""
    tops = {name.partition(".")[0] for name in imported(source.tree)}
    yield from sorted(tops & _OURS - {f"tritone_{source.package}"})


def functions(source: Source) -> Iterator[tuple[str, int]]:
    """Each function's name and lines without its docstring, nested ones too."""
    for node in ast.walk(source.tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            first = node.body[0]
            if ast.get_docstring(node, clean=False) is not None:
                lines -= (first.end_lineno or first.lineno) - first.lineno + 1
            yield f"{source.path}: {node.name}", lines


@pytest.mark.parametrize("package", PACKAGES)
def test_a_package_imports_only_those_below_it(package: str) -> None:
    wrong = [
        f"{source.path} imports {name}"
        for source in sources()
        if source.package == package
        for name in foreign(source)
        if name not in _MAY_IMPORT[package]
    ]
    assert wrong == []


def test_the_client_imports_the_runtime_in_one_module() -> None:
    importing = {source.path for source in sources() if source.package == "client" and any(foreign(source))}
    assert importing <= {_IN_PROCESS}


def test_the_backend_imports_the_runtime_alone() -> None:
    """The launcher copies it to Triton with the runtime and without the rest of the server."""
    allowed = ("tritone_runtime", "tritone_server.backend")
    wrong = [
        f"{source.path} imports {name}"
        for source in sources()
        if source.path.is_relative_to(_BACKEND)
        for name in imported(source.tree)
        if name.partition(".")[0] in _OURS and not name.startswith(allowed)
    ]
    assert wrong == []


def test_no_file_of_code_is_long() -> None:
    lengths = {
        str(path): len((ROOT / path).read_text().splitlines()) for path in tracked() if path.suffix in _CODE
    }
    assert {path: lines for path, lines in lengths.items() if lines > _FILE_LINES} == {}


def test_no_function_is_long() -> None:
    lengths = [each for source in sources() for each in functions(source)]
    assert [(name, lines) for name, lines in lengths if lines > _FUNCTION_LINES] == []


def test_half_of_the_functions_are_short() -> None:
    lengths = [lines for source in sources() if source.package in PACKAGES for _, lines in functions(source)]
    found = median(lengths)
    assert found <= _MEDIAN_LINES, f"the median of {len(lengths)} functions is {found} lines"


def test_no_folder_holds_many_modules() -> None:
    marks = {"__init__.py", "__main__.py"}
    modules = Counter(str(source.path.parent) for source in sources() if source.path.name not in marks)
    assert {folder: count for folder, count in modules.items() if count > _MODULES} == {}


def matches(pattern: re.Pattern[str]) -> list[str]:
    """Lines of text files that match."""
    return [
        f"{path}:{number}: {line.strip()[:120]}"
        for path in tracked()
        if path.suffix not in _BINARY
        for number, line in enumerate((ROOT / path).read_text().splitlines(), 1)
        if pattern.search(line)
    ]


def test_no_file_names_the_host_of_a_package_registry() -> None:
    assert matches(_HOST) == []


def test_no_file_has_a_path_of_one_machine() -> None:
    assert matches(_MACHINE_PATH) == []


@pytest.mark.parametrize(
    ("line", "of_one_machine"),
    [
        ("cd |home|somebody|tritone", True),
        ("'|root|tritone'", True),
        ("built in |tmp|tmpab12cd", True),
        ("~|work|codecs and $HOME|work|codecs", False),
        ("docs|home|page.md, |usr|bin|env, |opt|tritonserver", False),
    ],
)
def test_paths_of_a_machine_are_told_from_other_paths(line: str, of_one_machine: bool) -> None:
    path = line.replace("|", "/")  # this file must keep the rule too
    assert bool(_MACHINE_PATH.search(path)) == of_one_machine


def test_codecs_are_told_apart_by_their_names_in_their_own_folder_only() -> None:
    names = {folder.name.removesuffix("_decode") for folder in (ROOT / "model_repository").glob("*_decode")}
    assert names
    wrong = [
        f"{source.path}:{node.lineno}: {ast.unparse(node)}"
        for source in sources()
        if source.package != "tests" and "codecs" not in source.path.parts
        for node in ast.walk(source.tree)
        if isinstance(node, ast.Compare) and compares_codec(node, names)
    ]
    assert wrong == []


def compares_codec(node: ast.Compare, names: set[str]) -> bool:
    """Whether a codec, or the name of one, is compared with a constant."""
    sides = [node.left, *node.comparators]
    texts = {side.value for side in sides if isinstance(side, ast.Constant) and isinstance(side.value, str)}
    texts |= {
        item.value
        for side in sides
        if isinstance(side, ast.Tuple | ast.List | ast.Set)
        for item in side.elts
        if isinstance(item, ast.Constant) and isinstance(item.value, str)
    }
    codec = any(re.fullmatch(r"(\w+\.)*codec(\.name)?", ast.unparse(side)) for side in sides)
    return bool(texts & names) or (codec and bool(texts))


@pytest.mark.parametrize(
    ("line", "compares"),
    [
        ("codec == 'own'", True),
        ("self.codec.name in ('own', 'other')", True),
        ("'mimi' != name", True),
        ("row.codec == best.codec", False),
        ("codec is None", False),
        ("name in codecs", False),
    ],
)
def test_comparisons_of_codecs_are_told_from_others(line: str, compares: bool) -> None:
    (statement,) = ast.parse(line).body
    assert isinstance(statement, ast.Expr)
    assert isinstance(statement.value, ast.Compare)
    assert compares_codec(statement.value, {"mimi"}) == compares
