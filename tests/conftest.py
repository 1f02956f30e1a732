"""Small codecs of every kind, built and served once for all tests.

They differ from the published ones in depth and width only: two of everything, few channels.
"""

import copy
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers.engine_graphs import EngineGraphs
from hypothesis import settings
from numpy.typing import NDArray

import tritone_client
from scripts.common.prepare import build_models, remember_checkpoints
from scripts.common.rounding import limit_of
from scripts.peers import Reference, reference_of
from tritone_build.checkpoints.checkpoint import Checkpoint, open_checkpoint
from tritone_build.checkpoints.fixtures import write_fixture
from tritone_build.codecs import VARIANTS, load_codec
from tritone_build.codecs.base import Codec
from tritone_build.repository.writing import is_current
from tritone_server.cache import CACHE
from tritone_server.launcher import TritonServer, serving
from tritone_server.stream_check import Comparison, compared

pytest_plugins = ["helpers.programs"]
torch.set_num_threads(2)
# How busy a machine is says nothing of the code, and a second run must say what the first one did.
settings.register_profile("tests", deadline=None, derandomize=True)
settings.load_profile("tests")


def small(config: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration with two stages, two residual blocks, few channels and short windows."""
    if "quantizer_kwargs" in config:
        return _small_moss(config)
    return _small_mimi(config) if "upsampling_ratios" in config else _small_nemo(config)


def _small_moss(config: Mapping[str, Any]) -> dict[str, Any]:
    """Two transformers each way, at 50 and 25 Hz, with windows of 20 and 10 steps."""
    reduced = copy.deepcopy(dict(config))
    stage = {"d_model": 64, "num_heads": 4, "num_layers": 2, "dim_feedforward": 96}
    sizes = {"encoder_kwargs": ((8, 32), (64, 48)), "decoder_kwargs": ((48, 64), (32, 8))}
    for half, channels in sizes.items():
        blocks = [block for block in reduced[half] if block["module_type"] == "Transformer"][:2]
        first, second = (
            block | stage | {"input_dimension": pair[0], "output_dimension": pair[1]}
            for block, pair in zip(blocks, channels, strict=True)
        )
        patches = ({"module_type": "PatchedPretransform", "patch_size": size} for size in (2, 8))
        two, eight = patches
        decodes = half == "decoder_kwargs"
        reduced[half] = [first, two, second, eight] if decodes else [eight, first, two, second]
    reduced["quantizer_kwargs"] |= {
        "input_dim": 48,
        "output_dim": 48,
        "rvq_dim": 32,
        "codebook_size": 128,
        "codebook_dim": 4,
    }
    rate = {"sampling_rate": 400, "downsample_rate": 16, "causal_transformer_context_duration": 0.4}
    return reduced | rate


def _small_mimi(config: Mapping[str, Any]) -> dict[str, Any]:
    ratios = config["upsampling_ratios"][:2]
    sizes = {"hidden_size": 64, "upsample_groups": 64, "num_filters": 4, "intermediate_size": 96}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 4, "head_dim": 16}
    books = {"codebook_size": 128, "codebook_dim": 32, "vector_quantization_hidden_dimension": 32}
    rate = {
        "sampling_rate": 1200,
        "frame_rate": 1200 / (2 * ratios[0] * ratios[1]),
        "upsampling_ratios": ratios,
    }
    return {**config, **sizes, **heads, **books, **rate, "num_hidden_layers": 2, "sliding_window": 20}


_RESIDUAL = {"resblock_kernel_sizes": (3, 7, 11), "resblock_dilation_sizes": (1, 3, 5)}
"""What NeMo's classes take where a configuration says nothing."""


def _small_nemo(config: Mapping[str, Any]) -> dict[str, Any]:
    reduced = copy.deepcopy(dict(config))
    rates = reduced["audio_decoder"]["up_sample_rates"][:2]
    reduced["audio_decoder"] |= {"up_sample_rates": rates, "base_channels": 16}
    reduced["audio_encoder"] |= {"down_sample_rates": rates[::-1], "base_channels": 4}
    for half in ("audio_decoder", "audio_encoder"):
        for sizes, usual in _RESIDUAL.items():
            reduced[half][sizes] = list(reduced[half].get(sizes, usual))[:2]
    reduced["samples_per_frame"] = rates[0] * rates[1]
    return reduced


SMALL = {f"small_{name}": small(variant.config) for name, variant in VARIANTS.items()}
CAUSAL = [name for name in SMALL if name != "small_lfsc"]
NEMO = [name for name in SMALL if name not in ("small_mimi", "small_moss")]


@pytest.fixture(autouse=True)
def seeded() -> None:
    """The same draws, whichever tests ran before."""
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def checkpoints() -> dict[str, Checkpoint]:
    folder = CACHE / "small_checkpoints"
    return {
        name: open_checkpoint(str(write_fixture(config, folder / name))) for name, config in SMALL.items()
    }


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


def against_whole(
    codec: tritone_client.Codec,
    tokens: NDArray[np.int64],
    heard: NDArray[np.float32],
    whole: NDArray[np.float32] | None = None,
    others: Sequence[NDArray[np.float32]] = (),
) -> Comparison:
    """What a stream of tokens [K, T] gave, against the whole, within the limit of these tokens.

    ``others`` are the wholes of streams beside it, whose frames are recognised.
    """
    whole = codec.decode(tokens) if whole is None else whole
    named = {f"neighbour {number}": each for number, each in enumerate(others)}
    return compared(whole, heard, codec.info.samples_per_frame, limit_of(codec, tokens), named)
