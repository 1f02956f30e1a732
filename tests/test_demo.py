"""The demo, at the full geometry of the default codec: checkpoint, models, server, sound, reference."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import soundfile

ROOT = Path(__file__).resolve().parent.parent


def demo(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "scripts/demo.py", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_the_demo_serves_the_default_codec_and_matches_nemo() -> None:
    done = demo()
    assert done.returncode == 0, done.stderr
    assert "the weights are random, so the decoded sound is noise" in done.stdout
    assert "0.000 % differ" in done.stdout
    (decibels,) = re.findall(r"audio against the reference\D+([\d.]+) dB", done.stdout)
    assert float(decibels) >= 120
    assert soundfile.info(ROOT / "artifacts/demo/nanocodec.wav").frames == 158 * 1764
    assert (ROOT / "artifacts/demo/nanocodec.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--codec", "nope"], "unknown codec 'nope'"),
        (["--audio", "Makefile"], "not an audio file"),
        (["--checkpoint", "none.nemo"], "no checkpoint at none.nemo"),
    ],
)
def test_the_demo_says_what_is_wrong(arguments: list[str], said: str) -> None:
    done = demo(*arguments)
    assert done.returncode == 1
    assert said in done.stderr
    assert "Traceback" not in done.stderr
