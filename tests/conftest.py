"""Small codecs of every kind, built and served once for all tests.

They differ from the published ones in depth and width only: two of everything, few channels.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.engine_graphs import EngineGraphs
from helpers.workers import FileScheduling, locked
from hypothesis import settings

import tritone_client
from scripts.common.prepare import build_models, remember_checkpoints
from scripts.common.small_codecs import SMALL
from scripts.peers import Reference, reference_of
from tritone_build.checkpoints.checkpoint import Checkpoint, open_checkpoint
from tritone_build.checkpoints.fixtures import write_fixture
from tritone_build.codecs import load_codec
from tritone_build.codecs.base import Codec
from tritone_build.repository.writing import is_current
from tritone_server.cache import CACHE
from tritone_server.launcher import TritonServer, serving

pytest_plugins = ["helpers.programs"]
torch.set_num_threads(1 if "PYTEST_XDIST_WORKER" in os.environ else 2)
if "PYTEST_XDIST_WORKER" in os.environ:  # threads of PyTorch that wait for a core of other tests burn it
    os.environ["OMP_NUM_THREADS"] = "1"
# How busy a machine is says nothing of the code, and a second run must say what the first one did.
settings.register_profile("tests", deadline=None, derandomize=True)
settings.load_profile("tests")


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> FileScheduling:
    return FileScheduling(config, log)


@pytest.fixture(autouse=True)
def seeded() -> None:
    """The same draws, whichever tests ran before."""
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def checkpoints() -> dict[str, Checkpoint]:
    folder = CACHE / "small_checkpoints"
    with locked("small_checkpoints"):
        paths = {name: write_fixture(config, folder / name) for name, config in SMALL.items()}
        return {name: open_checkpoint(str(path)) for name, path in paths.items()}


@pytest.fixture(scope="session")
def codecs(checkpoints: dict[str, Checkpoint]) -> dict[str, Codec]:
    return {name: load_codec(checkpoint, name) for name, checkpoint in checkpoints.items()}


@pytest.fixture(scope="session")
def engine_graphs(codecs: dict[str, Codec]) -> EngineGraphs:
    return EngineGraphs(codecs, CACHE / "small_graphs")


@pytest.fixture(scope="session")
def references(checkpoints: dict[str, Checkpoint]) -> dict[str, Reference]:
    return {name: reference_of(checkpoint) for name, checkpoint in checkpoints.items()}


@pytest.fixture(scope="session")
def repository(checkpoints: dict[str, Checkpoint], codecs: dict[str, Codec]) -> Path:
    """Kept from run to run, since building takes minutes; what has changed is built again."""
    folder = CACHE / "small_models"
    with locked("small_models"):
        stale = [name for name, codec in codecs.items() if not is_current(folder, codec)]
        build_models([(name, checkpoints[name].source) for name in stale], folder)
    remember_checkpoints((name, checkpoint.source) for name, checkpoint in checkpoints.items())
    return folder


@pytest.fixture(scope="session")
def server(repository: Path) -> Iterator[TritonServer]:
    with serving(repository, list(SMALL)) as running:
        yield running


@pytest.fixture(params=list(SMALL))
def codec(request: pytest.FixtureRequest, server: TritonServer) -> Iterator[tritone_client.Codec]:
    """Every codec of the server in turn."""
    with tritone_client.Codec(str(request.param), server.url) as opened:
        yield opened


@pytest.fixture
def causal(server: TritonServer) -> Iterator[tritone_client.Codec]:
    """One that the server streams."""
    with tritone_client.Codec("small_nanocodec", server.url) as opened:
        yield opened
