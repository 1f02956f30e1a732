"""Checkpoints: every published layout reads the same, and whatever is wrong is named."""

import io
import json
import pickle
import tarfile
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.archives import packed, rewritten
from safetensors.torch import load_file, save_file
from torch import Tensor

from scripts.common.small_codecs import SMALL
from tritone_build.checkpoints.checkpoint import Checkpoint, open_checkpoint
from tritone_build.checkpoints.fixtures import write_fixture
from tritone_build.checkpoints.weight_norm import Spelling
from tritone_build.codecs import VARIANTS, load_codec
from tritone_build.errors import (
    CheckpointError,
    CheckpointMismatchError,
    CheckpointNotFoundError,
    UnsupportedNetworkError,
)

CONFIG = SMALL["small_nanocodec"]


def read(path: Path) -> dict[str, Tensor]:
    codec = load_codec(open_checkpoint(str(path)), "small")
    return {**codec.decoder.state_dict(), **{f"enc.{k}": v for k, v in codec.encoder.state_dict().items()}}


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    return write_fixture(CONFIG, tmp_path / "small.nemo")


@pytest.mark.parametrize("layout", ["nemo", "nemo.gz", "safetensors"])
@pytest.mark.parametrize("spelling", list(Spelling))
def test_every_layout_and_spelling_holds_the_same_weights(
    layout: str, spelling: Spelling, tmp_path: Path
) -> None:
    expected = read(write_fixture(CONFIG, tmp_path / "plain.nemo", seed=3, spelling=Spelling.PLAIN))
    weights = read(write_fixture(CONFIG, tmp_path / "other", 3, layout, spelling))
    assert weights.keys() == expected.keys()
    for name, tensor in expected.items():
        torch.testing.assert_close(weights[name], tensor, rtol=2e-6, atol=1e-7, msg=name)


def test_seeds_differ(tmp_path: Path) -> None:
    first, second = (read(write_fixture(CONFIG, tmp_path / f"{seed}.nemo", seed)) for seed in (1, 2))
    assert not torch.equal(first["pre_conv.weight"], second["pre_conv.weight"])


def test_networks_for_training_are_skipped(archive: Path) -> None:
    before = read(archive)

    def add(_: dict[str, Any], tensors: dict[str, Tensor]) -> None:
        tensors["discriminator.discriminators.0.conv.weight"] = torch.zeros(3)
        tensors["gen_loss_fn.window"] = torch.zeros(2)

    after = read(rewritten(archive, add))
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())


def test_interpolations_in_the_configuration_are_resolved(archive: Path) -> None:
    def refer(config: dict[str, Any], _: dict[str, Tensor]) -> None:
        config["base"] = config["audio_decoder"]["base_channels"]
        config["audio_decoder"]["base_channels"] = "${base}"

    read(rewritten(archive, refer))


def test_a_missing_a_foreign_and_a_misshapen_tensor_are_all_named(archive: Path) -> None:
    def damage(_: dict[str, Any], tensors: dict[str, Tensor]) -> None:
        del tensors["audio_encoder.post_conv.conv.bias"]
        tensors["audio_decoder.extra.bias"] = torch.zeros(1)
        tensors["audio_decoder.pre_conv.conv.bias"] = torch.zeros(5)
        tensors["vector_quantizer.fsqs.0.num_levels"] += 1

    with pytest.raises(CheckpointMismatchError) as caught:
        read(rewritten(archive, damage))
    error = caught.value
    assert error.missing == ["audio_encoder.post_conv.conv.bias"]
    assert error.unexpected == ["audio_decoder.extra.bias"]
    assert [name.split()[0] for name in error.misshapen] == [
        "audio_decoder.pre_conv.conv.bias",
        "vector_quantizer.fsqs.0.num_levels",
    ]
    for word in ("post_conv.conv.bias", "extra.bias", "[5], expected [16]"):
        assert word in str(error)


def test_half_a_normalized_weight_is_named(archive: Path) -> None:
    def damage(_: dict[str, Any], tensors: dict[str, Tensor]) -> None:
        del tensors["audio_decoder.pre_conv.conv.parametrizations.weight.original0"]

    with pytest.raises(CheckpointError, match=r"pre_conv.conv.parametrizations.weight.original0 is missing"):
        read(rewritten(archive, damage))


@pytest.mark.parametrize("layout", ["nemo", "nemo.gz", "safetensors"])
@pytest.mark.parametrize("share", [0.0, 0.3, 0.9])
def test_a_truncated_file_is_refused(layout: str, share: float, tmp_path: Path) -> None:
    path = write_fixture(CONFIG, tmp_path / "cut", layout=layout)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    with pytest.raises(CheckpointError, match="fetch it again"):
        open_checkpoint(str(path))


class Exploit:
    def __reduce__(self) -> tuple[Any, ...]:
        return (print, ("code of the checkpoint ran",))


def test_pickled_code_never_runs(archive: Path, capsys: pytest.CaptureFixture[str]) -> None:
    buffer = io.BytesIO()
    torch.save({"weights": Exploit()}, buffer)
    for weights in (buffer.getvalue(), pickle.dumps(Exploit())):
        packed(archive, b"sample_rate: 22050", weights)
        with pytest.raises(CheckpointError, match="never loaded"):
            open_checkpoint(str(archive))
    assert "ran" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"no archive at all", "is text, not a checkpoint; it begins 'no archive at all'"),
        (None, "model_config.yaml"),
    ],
)
def test_a_foreign_file_is_refused(content: bytes | None, said: str, tmp_path: Path) -> None:
    path = tmp_path / "foreign.nemo"
    if content is None:
        with tarfile.open(path, "w") as tar:
            tar.add(__file__, "notes.txt")
    else:
        path.write_bytes(content)
    with pytest.raises(CheckpointError, match=said):
        open_checkpoint(str(path))


def test_another_codecs_checkpoint_is_refused_by_name(archive: Path) -> None:
    with pytest.raises(CheckpointError, match=r"unpublished geometry, not of nanocodec"):
        load_codec(open_checkpoint(str(archive)), "nanocodec")
    with pytest.raises(CheckpointError, match="name the codec yourself"):
        load_codec(open_checkpoint(str(archive)))
    with pytest.raises(CheckpointError, match="cannot name a codec"):
        load_codec(open_checkpoint(str(archive)), "My Codec")


def test_a_checkpoint_of_no_known_family_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "resnet"}))
    save_file({"layer.weight": torch.zeros(2)}, tmp_path / "model.safetensors")
    with pytest.raises(CheckpointError, match="no known codec"):
        load_codec(open_checkpoint(str(tmp_path)))


def test_safetensors_without_geometry_must_fit_a_published_variant(tmp_path: Path) -> None:
    """Public safetensors copies say only their sample rate."""
    write_fixture(VARIANTS["nanocodec_1780bps"].config, tmp_path, layout="safetensors")
    (tmp_path / "config.json").write_text('{"sample_rate": 22050}')
    checkpoint = open_checkpoint(str(tmp_path))
    assert load_codec(checkpoint).name == "nanocodec_1780bps"
    tensors = dict(checkpoint.tensors)
    tensors["vector_quantizer.fsqs.0.num_levels"] = torch.tensor([[[9], [8], [8], [7]]], dtype=torch.int32)
    other = Checkpoint(checkpoint.source, checkpoint.layout, checkpoint.config, tensors, checkpoint.sha256)
    with pytest.raises(UnsupportedNetworkError, match="fit no published variant"):
        load_codec(other)


def test_safetensors_keep_their_own_configuration(tmp_path: Path) -> None:
    path = write_fixture(CONFIG, tmp_path, layout="safetensors")
    assert set(load_file(path)) == set(open_checkpoint(str(path)).tensors)
    (tmp_path / "config.json").unlink()
    with pytest.raises(UnsupportedNetworkError, match="fit no published variant"):
        load_codec(open_checkpoint(str(path)))


def test_a_codec_has_the_layouts_it_is_published_in(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"no layout 'kyutai'; it has: nemo, nemo\.gz, safetensors"):
        write_fixture(CONFIG, tmp_path / "x", layout="kyutai")


def test_a_missing_path_is_not_mistaken_for_a_hub_id(tmp_path: Path) -> None:
    for source in (str(tmp_path / "none.nemo"), "none.nemo", "./models/none"):
        with pytest.raises(CheckpointNotFoundError, match=r"expected a .nemo file, a folder or a hub id"):
            open_checkpoint(source)


def test_a_folder_must_hold_one_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(CheckpointNotFoundError, match="found none"):
        open_checkpoint(str(tmp_path))
    for name in ("a.nemo", "b.nemo"):
        (tmp_path / name).touch()
    with pytest.raises(CheckpointNotFoundError, match=r"a.nemo, b.nemo"):
        open_checkpoint(str(tmp_path))
