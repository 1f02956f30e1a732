"""The demo, with the default codec at full geometry and with a given checkpoint."""

import argparse
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import soundfile
from helpers.paths import ROOT

from scripts import demo
from scripts.peers import Reference
from tritone_build.checkpoints.checkpoint import Checkpoint
from tritone_build.codecs import variant
from tritone_server.cache import CACHE


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "scripts.demo", *arguments]
    settings = os.environ | environment
    return subprocess.run(command, cwd=ROOT, env=settings, capture_output=True, text=True, check=False)


def agrees_with_nemo(done: subprocess.CompletedProcess[str], name: str, samples: int) -> None:
    assert done.returncode == 0, done.stderr
    assert "0.000 % differ" in done.stdout
    (decibels,) = re.findall(r"audio against the reference\D+([\d.]+) dB", done.stdout)
    assert float(decibels) >= 120
    assert soundfile.info(ROOT / "artifacts/demo" / f"{name}.wav").frames == samples
    assert (ROOT / "artifacts/demo" / f"{name}.png").read_bytes().startswith(b"\x89PNG")


def test_the_demo_serves_the_codec_that_comes_along_and_matches_nemo() -> None:
    done = run()
    agrees_with_nemo(done, "nanocodec_mini", 271 * 1024)
    (intelligible,) = re.findall(r"STOI\D+([\d.]+) of 1", done.stdout)
    assert float(intelligible) >= 0.9, "noise would have 0.3 or less"


def test_the_demo_serves_a_stereo_codec_at_full_size_and_matches_openmoss() -> None:
    """Random weights: they are small enough to be made here."""
    done = run("--codec=moss_nano")
    assert done.returncode == 0, done.stderr
    (differing,) = re.findall(r"tokens against the reference\D+([\d.]+) % differ", done.stdout)
    assert float(differing) <= 0.1, "more than a tie in a thousand tokens"
    (decibels,) = re.findall(r"audio against the reference\D+([\d.]+) dB", done.stdout)
    assert float(decibels) >= 100
    sound = soundfile.info(ROOT / "artifacts/demo" / "moss_nano.wav")
    assert (sound.channels, sound.samplerate, sound.frames % 3840) == (2, 48000, 0)


def test_the_demo_serves_a_checkpoint_that_it_is_given(
    repository: Path, checkpoints: dict[str, Checkpoint], tmp_path: Path
) -> None:
    name, short = "small_nanocodec", tmp_path / "short.wav"
    speech, rate_hz = soundfile.read(ROOT / "samples" / "speech.wav", 675 * 49)
    soundfile.write(short, speech, rate_hz)
    given = {"checkpoint": checkpoints[name].source, "repository": repository, "audio": short}
    done = run(f"--codec={name}", *(f"--{option}={value}" for option, value in given.items()))
    agrees_with_nemo(done, name, 675 * 49)


def test_where_no_server_runs_the_demo_says_so_and_goes_on_in_process(
    references: dict[str, Reference], tmp_path: Path
) -> None:
    assert references, "their packages are in the cache now"
    (tmp_path / "wheels").mkdir()
    for package in (CACHE / "wheels").iterdir():
        if not package.name.startswith("nvidia-pytriton"):
            (tmp_path / "wheels" / package.name).symlink_to(package)
    done = run(TRITONE_CACHE=str(tmp_path), PIP_NO_INDEX="1")
    agrees_with_nemo(done, "nanocodec_mini", 271 * 1024)
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("2/4")]
    assert "no server (pip could not download nvidia-pytriton" in line
    assert line.endswith(": the codec runs in this process")


@pytest.mark.parametrize("codec", ["nanocodec_mini", "nanocodec"])
@pytest.mark.parametrize("noise", [True, False])
def test_random_weights_are_used_and_announced_without_a_checkpoint_or_on_request(
    codec: str, noise: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(demo, "seeded_checkpoint", lambda codec: f"{codec} at random")
    own = codec == "nanocodec_mini" and not noise
    options = argparse.Namespace(codec=codec, checkpoint=None, noise=noise)
    expected = variant(codec).source if own else f"{codec} at random"
    assert demo._checkpoint(options) == (expected, not own)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--codec", "nope"], "unknown codec 'nope'"),
        (["--audio", "Makefile"], "not an audio file"),
        (["--checkpoint", "none.nemo"], "no checkpoint at none.nemo"),
    ],
)
def test_the_demo_says_what_is_wrong(arguments: list[str], message: str) -> None:
    done = run(*arguments)
    assert done.returncode == 1
    assert message in done.stderr
    assert "Traceback" not in done.stderr
