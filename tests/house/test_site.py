"""Every page of the documentation is in the table of contents, and the site builds without a broken link."""

import os
import re
import subprocess
import sys
from pathlib import Path

from helpers.paths import ROOT

import tritone_client


def test_every_page_is_in_the_table_of_contents() -> None:
    contents = (ROOT / "docs" / "index.md").read_text()
    linked = set(re.findall(r"\]\(([a-z0-9-]+\.md)\)", contents))
    assert linked == {page.name for page in (ROOT / "docs").glob("*.md")} - {"index.md"}
    assert "](docs/index.md)" in (ROOT / "README.md").read_text()


def test_the_site_builds_and_describes_every_public_name_of_the_client(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)]
    environment = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    built = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    reference = (tmp_path / "api.html").read_text()
    described = set(re.findall(r'id="tritone_client\.(\w+)"', reference))
    assert described == set(tritone_client.__all__)
    assert (tmp_path / "readme.html").exists()
