"""nanocodec_mini in this process, behind a gateway."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from helpers.paths import ROOT
from helpers.servers.gateways import RunningGateway, running_gateway
from numpy.typing import NDArray

from scripts.common.prepare import REPOSITORY, build_models
from tritone_build.codecs import variant
from tritone_client import Codec
from tritone_client.inputs.audio import read_audio

MINI = "nanocodec_mini"


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo's models of this codec, which are built once, without those of codecs that others tried."""
    build_models([(MINI, variant(MINI).source)])
    alone = tmp_path_factory.mktemp("models")
    for model in REPOSITORY.glob(f"{MINI}_*"):
        (alone / model.name).symlink_to(model.resolve())
    return alone


@pytest.fixture(scope="session")
def mini(folder: Path) -> Iterator[Codec]:
    with Codec(MINI, folder) as codec:
        yield codec


@pytest.fixture(scope="session")
def speech() -> tuple[NDArray[np.float32], int]:
    """A second and a half of speech."""
    audio, rate_hz = read_audio(ROOT / "samples/speech.wav")
    return audio[rate_hz : rate_hz * 5 // 2], rate_hz


@pytest.fixture(scope="session")
def tokens(mini: Codec, speech: tuple[NDArray[np.float32], int]) -> NDArray[np.int64]:
    return mini.encode(*speech)


@pytest.fixture(scope="session")
def gateway(folder: Path) -> Iterator[RunningGateway]:
    with running_gateway(folder) as running:
        yield running
