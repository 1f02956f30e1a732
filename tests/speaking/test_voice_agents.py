"""The node for LiveKit and the service for Pipecat, in the frameworks themselves."""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from helpers.paths import ROOT
from numpy.typing import NDArray

from scripts.peers.environments import Environment
from tritone_client import Codec
from tritone_server.launcher import TritonServer

HERE = Path(__file__).parent
CODEC = "small_nanocodec"
FRAMES = 20


def packages(framework: str) -> Path:
    pinned = (HERE / "packages" / f"{framework}.txt").read_text().split()
    first = next(each for each in pinned if each.startswith(framework))
    return Environment(framework, [first, *(each for each in pinned if each != first)]).folder()


def said_by(
    framework: str, place: str | Path, frames: NDArray[np.int64], rate_hz: int, folder: Path
) -> tuple[str, NDArray[np.int16]]:
    """What the framework complained of, and the PCM that it played."""
    np.save(folder / "frames.npy", frames)
    pcm = folder / "audio.pcm"
    arguments: Sequence[str | Path] = (framework, place, CODEC, folder / "frames.npy", str(rate_hz), pcm)
    path = os.pathsep.join((str(packages(framework)), str(ROOT), os.environ.get("PYTHONPATH", "")))
    ran = subprocess.run(
        [sys.executable, "-P", HERE / "voice_agents.py", *arguments],
        check=False,
        env=os.environ | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
    )
    return ran.stderr if ran.returncode else "", np.frombuffer(pcm.read_bytes(), np.int16)


@pytest.mark.parametrize("framework", ["livekit", "pipecat"])
@pytest.mark.parametrize("rate_hz", [None, 8000], ids=["own_rate", "telephone"])
def test_an_agent_speaks(
    server: TritonServer, repository: Path, framework: str, rate_hz: int | None, tmp_path: Path
) -> None:
    with Codec(CODEC, server.url) as codec:
        frames = np.random.default_rng(0).integers(
            0, codec.info.codebook_size, (FRAMES, codec.info.num_codebooks)
        )
        rate_hz = rate_hz or codec.info.sample_rate_hz
        whole = codec.decode(frames.T, rate_hz, dtype="int16")
    place = repository if rate_hz == 8000 else server.url
    complaint, heard = said_by(framework, place, frames, rate_hz, tmp_path)
    assert not complaint
    assert heard.size >= whole.size
    assert np.abs(heard[: whole.size].astype(int) - whole).max() <= 1, "rounded from FP32 that rounds too"
    assert not heard[whole.size :].any(), "LiveKit ends with a little silence"


@pytest.mark.parametrize("framework", ["livekit", "pipecat"])
def test_an_agent_is_told_what_is_wrong(repository: Path, framework: str, tmp_path: Path) -> None:
    (tmp_path / "audio.pcm").touch()
    complaint, heard = said_by(framework, repository, np.full((FRAMES, 4), 10**6), 24000, tmp_path)
    assert "1000000" in complaint
    assert not heard.size
