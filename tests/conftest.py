"""Small codecs of every kind, built and served once for all tests.

They differ from the published ones in depth and width only: two stages, few channels.
"""

import copy
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

from peers import Reference, reference_of
from tritone_build.checkpoints import Checkpoint, open_checkpoint
from tritone_build.codecs import VARIANTS, load_codec
from tritone_build.codecs.base import Codec
from tritone_build.fixtures import write_fixture
from tritone_build.repository import write_repository
from tritonserver import TritonServer, serving

torch.set_num_threads(2)


def small(config: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration with the first two upsampling stages and few channels."""
    reduced = copy.deepcopy(dict(config))
    rates = reduced["audio_decoder"]["up_sample_rates"][:2]
    reduced["audio_decoder"] |= {"up_sample_rates": rates, "base_channels": 16}
    reduced["audio_encoder"] |= {"down_sample_rates": rates[::-1], "base_channels": 4}
    reduced["samples_per_frame"] = rates[0] * rates[1]
    return reduced


SMALL = {f"small_{name}": small(variant.config) for name, variant in VARIANTS.items()}
CAUSAL = [name for name in SMALL if name != "small_lfsc"]


@pytest.fixture(scope="session")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Checkpoint]:
    folder = tmp_path_factory.mktemp("checkpoints")
    return {
        name: open_checkpoint(str(write_fixture(config, folder / f"{name}.nemo")))
        for name, config in SMALL.items()
    }


@pytest.fixture(scope="session")
def codecs(checkpoints: dict[str, Checkpoint]) -> dict[str, Codec]:
    return {name: load_codec(checkpoint, name) for name, checkpoint in checkpoints.items()}


@pytest.fixture(scope="session")
def references(checkpoints: dict[str, Checkpoint]) -> dict[str, Reference]:
    return {name: reference_of(checkpoint) for name, checkpoint in checkpoints.items()}


@pytest.fixture(scope="session")
def repository(codecs: dict[str, Codec], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model_repository")
    for codec in codecs.values():
        write_repository(codec, folder, progress=lambda model: None)
    return folder


@pytest.fixture(scope="session")
def server(repository: Path) -> Iterator[TritonServer]:
    with serving(repository, list(SMALL)) as running:
        yield running
