"""The documentation is true: its code runs, and its links and make targets exist."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.paths import ROOT

from tritone_server.launcher import TritonServer

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
FENCE = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def blocks(page: Path, language: str) -> list[str]:
    return [code for found, code in FENCE.findall(page.read_text()) if found == language]


ADDRESS, FOLDER = "127.0.0.1:8001", "artifacts/model_repository"


def with_small_codecs(code: str, server: TritonServer, repository: Path) -> str:
    """The example, changed to use the small codecs, and the server or the repository of the tests."""
    if ADDRESS not in code and FOLDER not in code:
        return code
    small = re.sub(r'"(nanocodec|mimi|moss|moss_nano|qwen3_tts_12hz|snac_24khz)"', r'"small_\1"', code)
    return small.replace(ADDRESS, server.url).replace(FOLDER, str(repository)).replace("24000", "1200")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_python_blocks_run_from_top_to_bottom(page: Path, server: TritonServer, repository: Path) -> None:
    names: dict[str, object] = {}
    for code in blocks(page, "python"):
        exec(compile(with_small_codecs(code, server, repository), str(page), "exec"), names)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_run(page: Path, server: TritonServer, repository: Path, tmp_path: Path) -> None:
    """Commands of our packages run in order; make targets and folders to install must exist."""
    shutil.copy(ROOT / "samples" / "speech.wav", tmp_path)
    environment = os.environ | {
        "TRITONE_URL": server.url,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }
    for line in [line for code in blocks(page, "bash") for line in code.splitlines() if line]:
        words = shlex.split(line, comments=True)
        if words[0] == "make":
            subprocess.run(["make", "--dry-run", *words[1:]], cwd=ROOT, check=True, capture_output=True)
        elif words[:2] == ["pip", "install"]:
            assert (ROOT / words[2].partition("[")[0] / "pyproject.toml").exists()
        else:
            assert words[0] in ("tritone", "tritone-build"), f"this test cannot run {line!r}"
            if words[0] == "tritone":
                words = [f"small_{word}" if word in ("nanocodec", "mimi") else word for word in words]
                words = [str(repository) if word == FOLDER else word for word in words]
            subprocess.run(words, cwd=tmp_path, env=environment, check=True, capture_output=True)


@pytest.mark.parametrize("page", [*PAGES, ROOT / "samples" / "README.md"], ids=lambda page: page.name)
def test_links_point_to_files_that_exist(page: Path) -> None:
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text()):
        assert (page.parent / target).exists(), target


def test_every_make_target_is_explained() -> None:
    text = (ROOT / "Makefile").read_text()
    (phony,) = re.findall(r"^\.PHONY: (.+)$", text, re.MULTILINE)
    explained = re.findall(r"^([a-z-]+):.*## ", text, re.MULTILINE)
    assert sorted(phony.split()) == sorted(explained)
