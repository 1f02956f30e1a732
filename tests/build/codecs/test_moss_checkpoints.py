"""Checkpoints of MOSS-Audio-Tokenizer-v2 and -Nano: names, shards, sizes, and what is refused by name."""

import copy
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from scripts.common.small_codecs import SMALL
from tritone_build.checkpoints.checkpoint import Checkpoint, open_checkpoint
from tritone_build.checkpoints.fixtures import write_fixture
from tritone_build.checkpoints.shards import INDEX
from tritone_build.checkpoints.weight_norm import Spelling
from tritone_build.codecs import FAMILIES, VARIANTS, codec_within, load_codec, moss, shallow_variants
from tritone_build.codecs.base import Codec
from tritone_build.codecs.configs.moss import StageConfig, parse
from tritone_build.codecs.nested import codec_prefixes
from tritone_build.errors import CheckpointMismatchError, UnsupportedNetworkError
from tritone_build.state import whole
from tritone_runtime.fidelity import snr_db

CONFIG = SMALL["small_moss_nano"]
MOSS = ("moss", "moss_nano", "moss_v2")


@pytest.fixture(scope="module")
def checkpoint(checkpoints: dict[str, Checkpoint]) -> Checkpoint:
    return checkpoints["small_moss_nano"]


@pytest.fixture(scope="module")
def codec(codecs: dict[str, Codec]) -> Codec:
    return codecs["small_moss_nano"]


def decoded(codec: Codec) -> Tensor:
    tokens = torch.arange(40).reshape(1, 8, 5)
    return whole(codec.decoder, codec.quantizer.dequantize(tokens))


def published(name: str) -> dict[str, Tensor]:
    with torch.device("meta"):
        return moss.Network(parse(VARIANTS[name].config)).published()


@pytest.mark.parametrize(("name", "count", "elements", "half"), [
    ("moss_nano", 374, 21_969_664, 10_450_944),
    ("moss_v2", 2094, 2_123_701_248, 1_061_177_344),
])  # fmt: skip
def test_the_published_geometry_has_the_published_tensors(
    name: str, count: int, elements: int, half: int
) -> None:
    tensors = published(name)
    normalized = [there for there in tensors if there.endswith(moss.NORMALIZED)]
    assert all(there.startswith("quantizer.") for there in normalized)
    assert len(tensors) + len(normalized) == count
    scales = sum(len(tensors[there]) for there in normalized)
    assert sum(tensor.numel() for tensor in tensors.values()) + scales == elements
    for start in ("encoder.", "decoder."):
        assert sum(t.numel() for there, t in tensors.items() if there.startswith(start)) == half


@pytest.mark.parametrize("name", MOSS)
def test_it_is_found_in_a_larger_model_that_says_nothing_about_it(name: str) -> None:
    inside = {f"outer.codec.{there}": tensor for there, tensor in published(name).items()}
    backbone = {"decoder.1.transformer.layers.0.norm1.weight": torch.zeros(1)}
    found = codec_within(Checkpoint("x", "sharded", {}, inside | backbone, ""))
    assert found.prefix == "outer.codec"
    assert moss.variant_of(found) == name


def test_other_codecs_with_residual_codebooks_are_not_taken_for_it() -> None:
    """DAC and SNAC also have ``quantizer.quantizers``."""
    names = ("quantizer.quantizers.0.codebook.weight", "encoder.block.0.conv1.weight", "decoder.conv1.weight")
    tensors = {name: torch.zeros(1) for name in names}
    assert not moss.recognises(Checkpoint("x", "safetensors", {}, tensors, ""))
    assert codec_prefixes([f"codec.{name}" for name in names], FAMILIES) == []


def windows(config: Mapping[str, Any], half: str) -> list[int]:
    blocks = getattr(parse(config), half)
    return [block.transformer.context for block in blocks if isinstance(block, StageConfig)]


def test_each_transformer_has_its_own_window() -> None:
    assert windows(VARIANTS["moss_nano"].config, "decoder") == [500, 800, 1200, 1600]
    assert windows(VARIANTS["moss_v2"].config, "encoder") == [400, 400, 400, 400, 250, 125]
    assert windows(CONFIG, "encoder") == [20, 15]
    assert windows(changed("encoder_kwargs", 1, context_duration=0.58), "encoder") == [29, 15]  # 28.999...
    assert windows(shallow_variants()["moss_v2_shallow"].config, "decoder") == [125, 250, *[400] * 4]


def test_fixtures_have_the_names_and_the_shards_of_the_published_files(tmp_path: Path) -> None:
    folder = write_fixture(CONFIG, tmp_path).parent
    placed = json.loads((folder / INDEX).read_text())["weight_map"]
    assert set(placed.values()) == {"model-00001-of-00001.safetensors"}
    assert {
        "encoder.1.transformer.layers.0.self_attn.in_proj.weight",
        "decoder.1.transformer.layers.0.self_attn.out_proj.weight",
        "decoder.1.transformer.layers.0.ffn.0.weight",
        "decoder.1.transformer.layers.0.ffn.2.weight",
        "encoder.3.input_proj.weight",
        "quantizer.quantizers.0.in_proj.parametrizations.weight.original0",
    } <= placed.keys()


OTHER_NAMES = {
    "self_attn.in_proj.weight": ("self_attn.in_projs.0.weight", "self_attn.in_proj_weight"),
    "self_attn.out_proj.weight": ("self_attn.out_projs.0.weight",),
    "ffn.0.weight": ("linear1.weight",),
    "ffn.2.weight": ("linear2.weight",),
}


def test_a_configuration_without_channels_is_of_the_older_class() -> None:
    """It has no linear maps between equal sizes, the newer one has them always."""
    for config, states_channels in (
        (SMALL["small_moss"], False),
        (CONFIG, True),
        ({**SMALL["small_moss"], "number_channels": 1}, True),
    ):
        parsed = parse(config)
        stages = [b for b in (*parsed.encoder, *parsed.decoder) if isinstance(b, StageConfig)]
        equal = [s.maps_in for s in stages if s.channels_in == s.transformer.dim]
        assert (parsed.states_channels, set(equal)) == (states_channels, {states_channels})


@pytest.mark.parametrize("number", [0, -1])
def test_older_names_are_taken_too(number: int, codec: Codec, checkpoint: Checkpoint) -> None:
    older = {}
    for name, tensor in checkpoint.tensors.items():
        ending = next((each for each in OTHER_NAMES if name.endswith(each) and "quantizer" not in name), "")
        older[name.removesuffix(ending) + OTHER_NAMES[ending][number] if ending else name] = tensor
    assert older.keys() != checkpoint.tensors.keys()
    renamed = load_codec(Checkpoint("older", "sharded", checkpoint.config, older, ""), "x")
    assert torch.equal(decoded(renamed), decoded(codec))


@pytest.mark.parametrize("spelling", list(Spelling))
def test_weight_norm_is_taken_in_every_spelling(spelling: Spelling, codec: Codec, tmp_path: Path) -> None:
    other = load_codec(open_checkpoint(str(write_fixture(CONFIG, tmp_path, spelling=spelling))), "x")
    assert snr_db(decoded(codec).numpy(), decoded(other).numpy()) > 100


def test_every_tensor_that_is_off_is_named(checkpoint: Checkpoint) -> None:
    gone, twice = "encoder.3.input_proj.weight", "decoder.1.transformer.layers.0.linear1.weight"
    tensors = dict(checkpoint.tensors)
    tensors[twice] = tensors["decoder.1.transformer.layers.0.ffn.0.weight"]
    del tensors[gone]
    with pytest.raises(CheckpointMismatchError) as caught:
        load_codec(Checkpoint("x", "sharded", CONFIG, tensors, ""), "x")
    assert (caught.value.missing, caught.value.unexpected) == ([gone], [twice])


def changed(half: str, block: int, **values: Any) -> dict[str, Any]:
    config = copy.deepcopy(dict(CONFIG))
    config[half][block] |= values
    return config


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({**CONFIG, "number_channels": 3}, "number_channels = 3 is not supported; supported: 1, 2"),
        (
            {**CONFIG, "enable_channel_interleave": False},
            "enable_channel_interleave = False is not supported",
        ),
        ({**CONFIG, "channels_numbers": 1}, "number_channels = 2 and channels_numbers = 1 contradict"),
        ({**CONFIG, "number_channels": 1}, "multiply to 32, not to downsample_rate 16"),
        ({**CONFIG, "downsample_rate": 32}, "multiply to 32, not to downsample_rate 32 x 2 channels"),
        (
            {**CONFIG, "quantizer_kwargs": {**CONFIG["quantizer_kwargs"], "quantizer_type": "spec_rvq"}},
            "quantizer_type = 'spec_rvq' is not supported; supported: rlfq",
        ),
        (changed("decoder_kwargs", 0, patch_size=5), r"decoder_kwargs.*multiply to 80"),
        (changed("decoder_kwargs", 1, gating="silu"), "gating = 'silu'"),
        (changed("decoder_kwargs", 1, context_duration=None), r"decoder_kwargs\[1\] has no context_duration"),
        (changed("decoder_kwargs", 1, output_dimension=63), r"decoder_kwargs\[2\]: patch_size 2 does not"),
    ],
)
def test_what_is_not_implemented_is_refused_by_name(config: dict[str, Any], said: str) -> None:
    with pytest.raises(UnsupportedNetworkError, match=said):
        parse(config)


def test_the_older_key_of_the_channels_is_taken_too() -> None:
    config = {key: value for key, value in CONFIG.items() if key != "number_channels"}
    assert parse({**config, "channels_numbers": 2}) == parse(CONFIG)
