"""MOSS Audio Tokenizer: ours against OpenMOSS's own code, its shards, and what is refused by name."""

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from scripts.common.rounding import measured_limit
from scripts.common.small_codecs import SMALL
from scripts.peers import reference_of
from scripts.peers.openmoss import OpenMoss
from tritone_build.checkpoints.checkpoint import Checkpoint, open_checkpoint
from tritone_build.checkpoints.fixtures import write_fixture
from tritone_build.checkpoints.shards import INDEX
from tritone_build.codecs import VARIANTS, load_codec, moss
from tritone_build.codecs.base import Codec
from tritone_build.codecs.configs.moss import parse
from tritone_build.codecs.configs.moss_published import MOSS
from tritone_build.errors import CheckpointError, CheckpointMismatchError, UnsupportedNetworkError
from tritone_build.graphs.steps import DecodeStep, ImplicitStateStep
from tritone_build.state import whole
from tritone_runtime.fidelity import snr_db

CONFIG = SMALL["small_moss"]
FRAMES = 90
"""Nine windows of the reduced transformers."""
SHARDS = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]


@pytest.fixture(scope="module")
def checkpoint(checkpoints: dict[str, Checkpoint]) -> Checkpoint:
    return checkpoints["small_moss"]


@pytest.fixture(scope="module")
def codec(codecs: dict[str, Codec]) -> Codec:
    return codecs["small_moss"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_fixture(CONFIG, tmp_path / "moss", shards=2).parent


def noise(codec: Codec, frames: int = FRAMES) -> torch.Tensor:
    generator = torch.Generator().manual_seed(frames)
    return 0.1 * torch.randn(2, frames * codec.geometry.samples_per_frame, generator=generator)


def some_tokens(codec: Codec, books: int, frames: int = FRAMES) -> torch.Tensor:
    generator = torch.Generator().manual_seed(frames)
    return torch.randint(0, codec.geometry.codebook_size, (2, books, frames), generator=generator)


def decoded(codec: Codec, tokens: torch.Tensor) -> torch.Tensor:
    return whole(codec.decoder, codec.quantizer.dequantize(tokens))


@pytest.mark.parametrize("books", [1, 8, 32])
def test_decoding_equals_the_reference(books: int, codec: Codec, checkpoint: Checkpoint) -> None:
    tokens = some_tokens(codec, books)
    reference = reference_of(checkpoint)
    assert snr_db(reference.decode(tokens).numpy(), decoded(codec, tokens).numpy()) > 115


@pytest.mark.parametrize("books", [1, 8, 32])
def test_encoding_equals_the_reference(books: int, codec: Codec, checkpoint: Checkpoint) -> None:
    audio = noise(codec)
    ours = codec.quantizer.quantize(whole(codec.encoder, audio[:, None]))[:, :books]
    assert torch.equal(reference_of(checkpoint).encode(audio, books), ours)
    assert len(torch.unique(ours[:, 0])) > 30, "varied tokens, or this compares little"


@pytest.mark.parametrize("chunk", [1, 3, 10, 50])
def test_streams_are_exact_where_the_reference_in_chunks_is_not(
    chunk: int, codec: Codec, checkpoint: Checkpoint
) -> None:
    tokens = some_tokens(codec, 32, 100)[:1]
    expected, step = decoded(codec, tokens).numpy(), ImplicitStateStep(DecodeStep(codec))
    pasts = [torch.zeros(1, *part.shape, dtype=part.dtype) for part in step.step.packing.parts]
    pieces = []
    for piece in torch.split(tokens, chunk, dim=2):
        audio, *pasts = step(piece, *pasts)
        pieces.append(audio)
    reference = OpenMoss(checkpoint.config, checkpoint.tensors)
    limit = measured_limit(reference, codec, tokens[0].numpy())
    assert snr_db(expected, torch.cat(pieces, 1).numpy()) >= limit.whole_db
    if chunk == 3:  # the reference takes chunks of one window at most
        assert snr_db(expected, reference.decode_in_chunks(tokens, chunk).numpy()) < 60


def test_the_published_geometry_has_the_published_tensors() -> None:
    with torch.device("meta"):
        tensors = moss.Network(parse(MOSS)).published()
    normalized = [name for name in tensors if name.endswith(moss.NORMALIZED)]
    assert len(tensors) + len(normalized) == 1600
    scales = sum(len(tensors[name]) for name in normalized)
    assert sum(tensor.numel() for tensor in tensors.values()) + scales == 1_774_566_400
    assert tensors["decoder.0.transformer.layers.31.self_attn.in_projs.0.weight"].shape == (3840, 1280)
    assert VARIANTS["moss"].name == moss.variant_of(Checkpoint("x", "sharded", MOSS, tensors, ""))


def test_shards_hold_what_one_file_does(folder: Path, tmp_path: Path) -> None:
    sharded = open_checkpoint(str(folder))
    single = open_checkpoint(str(write_fixture(CONFIG, tmp_path / "one", layout="safetensors")))
    assert sharded.layout == "sharded"
    assert sharded.tensors.keys() == single.tensors.keys()
    assert all(torch.equal(sharded.tensors[name], single.tensors[name]) for name in single.tensors)
    assert open_checkpoint(str(folder / INDEX)).sha256 == sharded.sha256 != single.sha256


def test_older_names_of_attention_are_taken_too(folder: Path) -> None:
    checkpoint = open_checkpoint(str(folder))
    older = {
        name.replace("in_projs.0.weight", "in_proj_weight").replace("out_projs.0", "out_proj"): tensor
        for name, tensor in checkpoint.tensors.items()
    }
    renamed = Checkpoint("older", "sharded", checkpoint.config, older, "")
    tokens = torch.zeros(1, 2, 5, dtype=torch.int64)
    assert torch.equal(*(decoded(load_codec(each, "x"), tokens) for each in (checkpoint, renamed)))


def _without_a_shard(folder: Path) -> None:
    (folder / SHARDS[1]).unlink()


def _cut_short(folder: Path) -> None:
    content = (folder / SHARDS[1]).read_bytes()
    (folder / SHARDS[1]).write_bytes(content[: len(content) // 2])


def _with_a_tensor_nobody_has(folder: Path) -> None:
    index = json.loads((folder / INDEX).read_text())
    index["weight_map"]["decoder.9.weight"] = SHARDS[0]
    (folder / INDEX).write_text(json.dumps(index))


def _with_a_tensor_that_is_not_indexed(folder: Path) -> None:
    save_file(load_file(folder / SHARDS[0]) | {"extra": torch.zeros(1)}, folder / SHARDS[0])


def _with_an_index_that_is_none(folder: Path) -> None:
    (folder / INDEX).write_text('{"weights": 1}')


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (_without_a_shard, f"shards {SHARDS[1]} are missing"),
        (_cut_short, f"{SHARDS[1]}: the shard is damaged"),
        (_with_a_tensor_nobody_has, f"{SHARDS[0]}: .*missing: decoder.9.weight"),
        (_with_a_tensor_that_is_not_indexed, "not in the index: extra"),
        (_with_an_index_that_is_none, "not an index of shards"),
    ],
)
def test_shards_that_are_not_whole_are_refused(
    damage: Callable[[Path], None], said: str, folder: Path
) -> None:
    damage(folder)
    with pytest.raises(CheckpointError, match=said):
        open_checkpoint(str(folder))


def test_every_tensor_that_is_off_is_named(checkpoint: Checkpoint) -> None:
    tensors = dict(checkpoint.tensors) | {"extra": torch.zeros(1)}
    gone = "decoder.2.transformer.layers.1.linear2.weight"
    del tensors[gone]
    with pytest.raises(CheckpointMismatchError) as caught:
        load_codec(Checkpoint("x", "sharded", CONFIG, tensors, ""), "x")
    assert gone in str(caught.value)
    assert "extra" in str(caught.value)


def changed(half: str, block: int, **values: Any) -> dict[str, Any]:
    config = copy.deepcopy(dict(CONFIG))
    config[half][block] |= values
    return config


TWO_CHANNELS = {"number_channels": 2, "enable_channel_interleave": True}


def _without(key: str) -> dict[str, Any]:
    return {there: value for there, value in CONFIG.items() if there != key}


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({**CONFIG, **TWO_CHANNELS}, "multiply to 16, not to downsample_rate 16 x 2 channels"),
        (_without("causal_transformer_context_duration"), r"encoder_kwargs\[1\] has no context_duration"),
        (_without("sampling_rate"), "has no sampling_rate"),
        (
            {**CONFIG, "quantizer_kwargs": {**CONFIG["quantizer_kwargs"], "quantizer_type": "rvq"}},
            "quantizer_type = 'rvq' is not supported; supported: rlfq",
        ),
        ({**CONFIG, "downsample_rate": 32}, "patch sizes multiply to 16, not to downsample_rate 32"),
        (changed("encoder_kwargs", 1, causal=False), "causal = False is not supported; supported: True"),
        (changed("encoder_kwargs", 1, norm="rms_norm"), "norm = 'rms_norm'"),
        (changed("decoder_kwargs", 2, gating="silu"), "gating = 'silu'"),
        (changed("decoder_kwargs", 2, layer_scale=None), "without layer_scale"),
        (changed("decoder_kwargs", 2, input_dimension=7), r"decoder_kwargs\[2\]: input_dimension is 7"),
        (changed("decoder_kwargs", 1, module_type="Conv"), "module_type = 'Conv'"),
    ],
)
def test_what_is_not_implemented_is_refused_by_name(config: dict[str, Any], said: str) -> None:
    with pytest.raises(UnsupportedNetworkError, match=said):
        parse(config)
