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


@pytest.mark.parametrize(
    ("arguments", "name", "samples"),
    [([], "nanocodec_mini", 271 * 1024), (["--codec", "nanocodec"], "nanocodec", 158 * 1764)],
    ids=["speech", "noise"],
)
def test_the_demo_serves_a_codec_and_matches_nemo(arguments: list[str], name: str, samples: int) -> None:
    done = demo(*arguments)
    assert done.returncode == 0, done.stderr
    noise = "the weights are random, so the decoded sound is noise"
    assert (noise in done.stdout) == bool(arguments)
    intelligible = re.findall(r"STOI\D+([\d.]+) of 1", done.stdout)
    assert len(intelligible) == (not arguments)
    assert all(float(each) >= 0.9 for each in intelligible), "noise would have 0.3 or less"
    assert "0.000 % differ" in done.stdout
    (decibels,) = re.findall(r"audio against the reference\D+([\d.]+) dB", done.stdout)
    assert float(decibels) >= 120
    assert soundfile.info(ROOT / "artifacts/demo" / f"{name}.wav").frames == samples
    assert (ROOT / "artifacts/demo" / f"{name}.png").read_bytes().startswith(b"\x89PNG")


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
