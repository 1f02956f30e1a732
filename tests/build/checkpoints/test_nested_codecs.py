"""Codecs that are part of another model's checkpoint, as Mimi is of CSM's."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from scripts.common.small_codecs import SMALL
from scripts.peers.transformers_mimi import transformers_module
from tritone_build.checkpoints.checkpoint import Checkpoint, checkpoint_part, open_checkpoint
from tritone_build.checkpoints.fixtures import write_fixture
from tritone_build.cli import main
from tritone_build.codecs import VARIANTS, codec_within, load_codec
from tritone_build.codecs.base import Codec
from tritone_build.codecs.configs.mimi import PUBLISHED, parse
from tritone_build.errors import CheckpointError, CheckpointMismatchError
from tritone_build.repository.manifests import fingerprint

MIMI = SMALL["small_mimi"]
BACKBONE = {
    "embed_text_tokens.weight": torch.zeros(9, 4),
    "backbone_model.layers.0.self_attn.q_proj.weight": torch.zeros(4, 4),
    "depth_decoder.model.layers.0.mlp.gate_proj.weight": torch.zeros(4, 4),
    "lm_head.weight": torch.zeros(9, 4),
}
CSM = {"model_type": "csm", "architectures": ["CsmForConditionalGeneration"], "codec_config": MIMI}


def tensors_of(name: str, folder: Path, seed: int = 0, layout: str = "safetensors") -> dict[str, Tensor]:
    written = write_fixture(SMALL[name], folder / f"{name}-{seed}-{layout}", seed, layout)
    return dict(open_checkpoint(str(written)).tensors)


def under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {f"{prefix}.{name}": tensor for name, tensor in tensors.items()}


def written(folder: Path, config: Mapping[str, Any], *parts: Mapping[str, Tensor]) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config))
    save_file(
        {name: t.contiguous() for part in parts for name, t in part.items()}, folder / "model.safetensors"
    )
    return folder


@pytest.fixture
def csm(tmp_path: Path) -> Path:
    mimi = tensors_of("small_mimi", tmp_path)
    return written(tmp_path / "csm", CSM, BACKBONE, under("codec_model", mimi))


def weights(codec: Codec) -> dict[str, Tensor]:
    return {**codec.decoder.state_dict(), **{f"enc.{k}": v for k, v in codec.encoder.state_dict().items()}}


def assert_same(codec: Codec, other: Codec) -> None:
    theirs = weights(other)
    assert weights(codec).keys() == theirs.keys()
    assert all(torch.equal(tensor, theirs[name]) for name, tensor in weights(codec).items())
    assert codec.geometry == other.geometry


def test_mimi_in_a_csm_is_the_same_codec(csm: Path, tmp_path: Path) -> None:
    alone = open_checkpoint(str(write_fixture(MIMI, tmp_path / "alone", layout="safetensors")))
    checkpoint = open_checkpoint(str(csm))
    assert_same(load_codec(checkpoint, "inner"), load_codec(alone, "alone"))
    inner = codec_within(checkpoint)
    assert inner.prefix == "codec_model"
    assert inner.source == f"{csm}#codec_model"
    assert inner.sha256 == f"{checkpoint.sha256}#codec_model"
    assert codec_within(inner) is inner


def test_the_prefix_is_named_by_inspect(csm: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", str(csm)]) == 0
    printed = capsys.readouterr().out
    assert "the codec in it: " in printed
    assert "whose names begin with codec_model." in printed
    assert "depth_decoder" in printed, "the parts of the whole file"
    assert "every tensor fits" in printed


def test_models_are_built_of_it(csm: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = [
        "small_mimi",
        "--checkpoint",
        str(csm),
        "--repository",
        str(tmp_path / "models"),
        "--dry-run",
    ]
    assert main(["models", *arguments]) == 0
    assert "small_mimi_decode_stream" in capsys.readouterr().err.replace("\n", "")


@pytest.mark.parametrize("layout", ["safetensors", "kyutai"])
@pytest.mark.parametrize(
    ("prefix", "section"),
    [
        ("mimi", "mimi"),
        ("audio_encoder", "audio_encoder_config"),
        ("model.codec_model", "codec_config"),
        ("audio_tokenizer.model", "audio_tokenizer"),
    ],
)
def test_any_prefix_is_found(prefix: str, section: str, layout: str, tmp_path: Path) -> None:
    tensors = tensors_of("small_mimi", tmp_path, layout=layout)
    folder = written(
        tmp_path / "outer", {"model_type": "outer", section: MIMI}, BACKBONE, under(prefix, tensors)
    )
    assert codec_within(open_checkpoint(str(folder))).prefix == prefix
    assert load_codec(open_checkpoint(str(folder)), "inner").geometry.sample_rate_hz == MIMI["sampling_rate"]


@pytest.mark.parametrize("name", ["small_nanocodec", "small_lfsc", "small_moss", "small_qwen3_tts_12hz"])
def test_codecs_of_every_family_are_found(name: str, tmp_path: Path) -> None:
    tensors = tensors_of(name, tmp_path)
    outer = {"model_type": "outer", "codec_config": SMALL[name]}
    folder = written(tmp_path / "outer", outer, BACKBONE, under("codec_model", tensors))
    assert load_codec(open_checkpoint(str(folder)), "inner").geometry.sample_rate_hz > 0


def test_a_codec_that_is_only_wrapped_keeps_its_configuration(tmp_path: Path) -> None:
    """As training writes it where a model is wrapped in another."""
    folder = written(tmp_path / "wrapped", MIMI, under("module", tensors_of("small_mimi", tmp_path)))
    assert load_codec(open_checkpoint(str(folder)), "inner").geometry.sample_rate_hz == MIMI["sampling_rate"]


def test_without_a_section_it_must_fit_the_published_codec(tmp_path: Path) -> None:
    published = VARIANTS["mimi"].config
    path = write_fixture(published, tmp_path / "mimi.safetensors", layout="kyutai")
    parts = BACKBONE, under("mimi", open_checkpoint(str(path)).tensors)
    folder = written(tmp_path / "outer", {"model_type": "outer", "sampling_rate": 16000}, *parts)
    codec = load_codec(open_checkpoint(str(folder)))
    assert (codec.name, codec.geometry.sample_rate_hz) == ("mimi", 24000)


def test_every_tensor_under_the_prefix_must_fit(tmp_path: Path) -> None:
    tensors = tensors_of("small_mimi", tmp_path)
    lost = next(name for name in tensors if name.endswith("fc1.weight"))
    del tensors[lost]
    tensors["quantizer.extra"] = torch.zeros(1)
    folder = written(tmp_path / "outer", CSM, BACKBONE, under("codec_model", tensors))
    with pytest.raises(CheckpointMismatchError, match=f"^{folder}#codec_model: ") as caught:
        load_codec(open_checkpoint(str(folder)), "inner")
    assert caught.value.missing == [lost]
    assert caught.value.unexpected == ["quantizer.extra"]


def test_weights_in_half_precision_are_taken(csm: Path, tmp_path: Path) -> None:
    """Those of CSM are published in FP32; whoever trains on may save in BF16."""
    in_fp16 = {name: t.bfloat16() for name, t in tensors_of("small_mimi", tmp_path).items()}
    folder = written(tmp_path / "half", CSM, BACKBONE, under("codec_model", in_fp16))
    assert load_codec(open_checkpoint(str(folder)), "inner").dtype == torch.float32


@pytest.fixture
def two(tmp_path: Path) -> Path:
    first, second = (tensors_of("small_mimi", tmp_path, seed) for seed in (1, 2))
    outer = {"model_type": "outer", "user_codec_config": MIMI, "system": {"codec": MIMI}}
    return written(tmp_path / "two", outer, under("user_codec", first), under("system.codec", second))


def test_of_two_codecs_one_must_be_chosen(two: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = rf"holds 2 codecs, .* system\.codec\., user_codec\.; choose one by its prefix: {two}#system\.codec"
    with pytest.raises(CheckpointError, match=said):
        load_codec(open_checkpoint(str(two)), "inner")
    assert main(["inspect", str(two)]) == 1
    assert main(["inspect", f"{two}#user_codec"]) == 0
    assert "begin with user_codec." in capsys.readouterr().out


def test_the_chosen_codec_is_read(two: Path, tmp_path: Path) -> None:
    for seed, prefix in ((1, "user_codec"), (2, "system.codec"), (2, "system"), (2, "system.codec.")):
        alone = write_fixture(MIMI, tmp_path / f"alone-{seed}", seed, "safetensors")
        chosen = load_codec(open_checkpoint(f"{two}#{prefix}"), "inner")
        assert_same(chosen, load_codec(open_checkpoint(str(alone)), "inner"))
        assert chosen.checkpoint_sha256.endswith("#user_codec" if seed == 1 else "#system.codec")


def test_models_of_one_are_not_up_to_date_for_the_other(two: Path) -> None:
    first, second = (
        load_codec(open_checkpoint(f"{two}#{each}"), "inner") for each in ("user_codec", "system")
    )
    assert fingerprint(first.checkpoint_sha256) != fingerprint(second.checkpoint_sha256)


def test_a_prefix_that_nothing_has_is_refused_with_those_there_are(two: Path) -> None:
    with pytest.raises(CheckpointError, match=r"begins with 'codec\.'; they begin with system, user_codec"):
        open_checkpoint(f"{two}#codec")


def test_a_file_may_have_a_hash_in_its_name(tmp_path: Path) -> None:
    path = write_fixture(SMALL["small_nanocodec"], tmp_path / "take#2.nemo")
    assert not open_checkpoint(str(path)).prefix
    assert open_checkpoint(f"{path}#audio_decoder").prefix == "audio_decoder"


def test_a_codec_is_not_sought_in_a_codec(tmp_path: Path) -> None:
    tensors = tensors_of("small_mimi", tmp_path)
    folder = written(
        tmp_path / "both", MIMI, tensors, under("semantic", tensors_of("small_mimi", tmp_path, seed=1))
    )
    with pytest.raises(CheckpointMismatchError, match=r"unexpected: semantic\."):
        load_codec(open_checkpoint(str(folder)), "inner")


def sharded(folder: Path, name: str, *shards: Mapping[str, Tensor]) -> None:
    placed: dict[str, str] = {}
    for number, shard in enumerate(shards, 1):
        file = f"{name}-{number:05}-of-{len(shards):05}.safetensors"
        save_file({tensor: value.contiguous() for tensor, value in shard.items()}, folder / file)
        placed |= dict.fromkeys(shard, file)
    (folder / f"{name}.safetensors.index.json").write_text(json.dumps({"weight_map": placed}))


def test_a_folder_with_the_model_in_two_formats_says_which_to_read(tmp_path: Path) -> None:
    """sesame/csm-1b: its own format in model.safetensors, that of transformers in shards of other names."""
    config = CSM | {"transformers_weights": "transformers.safetensors.index.json"}
    folder = written(tmp_path / "csm", config, {"backbone.layers.0.attn.q_proj.weight": torch.zeros(4, 4)})
    sharded(folder, "transformers", BACKBONE, under("codec_model", tensors_of("small_mimi", tmp_path)))
    checkpoint = open_checkpoint(str(folder))
    assert checkpoint.layout == "sharded"
    assert load_codec(checkpoint, "inner").geometry.sample_rate_hz == MIMI["sampling_rate"]


def test_the_configuration_that_transformers_saves_describes_the_codec(tmp_path: Path) -> None:
    config = transformers_module("models.csm.configuration_csm").CsmConfig
    twice = MIMI | {"sampling_rate": 2400, "frame_rate": 25.0}
    for given in (MIMI, twice, {**twice, "frame_rate": None}, PUBLISHED):
        config(codec_config=dict(given)).save_pretrained(tmp_path)
        saved = json.loads((tmp_path / "config.json").read_text())
        assert "frame_rate" not in saved["codec_config"], "it is called otherwise"
        assert parse(saved["codec_config"]) == parse(given)
    assert parse(saved["codec_config"]).samples_per_frame == 1920


def test_an_unrelated_model_is_still_of_no_known_codec(tmp_path: Path) -> None:
    folder = written(tmp_path / "outer", {"model_type": "llama"}, BACKBONE)
    with pytest.raises(CheckpointError, match="no known codec"):
        load_codec(open_checkpoint(str(folder)))


def test_a_part_has_the_section_of_its_name() -> None:
    tensors = {"a.b_model.weight": torch.zeros(1), "other": torch.zeros(1)}
    config = {"a": {"b_config": {"rate": 3}}, "b_config": {"rate": 4}}
    whole = Checkpoint("x", "", config, tensors, "0")
    assert checkpoint_part(whole, "a.b_model").config == {"rate": 3}
    assert checkpoint_part(checkpoint_part(whole, "a"), "b_model") == checkpoint_part(whole, "a.b_model")
