"""A ``.nemo`` whose configuration needs its author's machine: only what describes the network is resolved."""

import io
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from helpers.archives import packed

from scripts.common.small_codecs import SMALL
from tritone_build.checkpoints.checkpoint import open_checkpoint
from tritone_build.checkpoints.fixtures import write_fixture
from tritone_build.checkpoints.lazy_config import LazyConfig
from tritone_build.checkpoints.nemo_archive import read_nemo
from tritone_build.codecs import load_codec
from tritone_build.codecs.base import Codec
from tritone_build.errors import CheckpointError

CONFIG = SMALL["small_nanocodec"]
ELSEWHERE = {
    "an environment variable": "train_ds: {path: '${oc.env:TRITONE_NO_SUCH_VARIABLE}'}",
    "a resolver of the author": "max_steps: ${multiply:${batches},3}\nbatches: 7",
    "a value left open": "train_ds:\n  manifest: ???\nexp_dir: ???",
    "a tag of the author": "optim: !optimizer {lr: 0.1}\nvalidation: [!env DATA, !!python/name:os.system '']",
    "code": "hook: !!python/object/apply:os.mkdir ['ran']",
    "an interpolation to nowhere": "sched: {steps: '${trainer.steps}', rate: '${train_ds.path'}",
    "keys that are no names": "speakers: {null: 1, 2020-01-02: 2}",
    "dates and circles": "when: 2024-02-30\nday: 2024-02-03\nself: &self [*self]\na: ${b}\nb: ${a}",
}


def archive(path: Path, config: str) -> Path:
    """The small codec's weights under another configuration."""
    weights = path.with_suffix(".weights")
    _, tensors = read_nemo(write_fixture(CONFIG, weights))
    buffer = io.BytesIO()
    torch.save(dict(tensors), buffer)
    return packed(path, config.encode(), buffer.getvalue())


def loaded(path: Path, config: str) -> Codec:
    return load_codec(open_checkpoint(str(archive(path, config))), "small")


@pytest.mark.parametrize("kind", ELSEWHERE)
def test_what_is_not_of_the_network_is_never_resolved(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    config = f"{ELSEWHERE[kind]}\n{yaml.safe_dump(CONFIG)}"
    assert loaded(tmp_path / "author.nemo", config).geometry.num_codebooks == 4
    assert not (tmp_path / "ran").exists()


OURS: list[tuple[str, Any, str]] = [
    ("audio_decoder", {"base_channels": "${oc.env:TRITONE_CHANNELS}"}, r"TRITONE_CHANNELS"),
    ("audio_decoder", {"base_channels": "${double:8}"}, r"double"),
    ("audio_decoder", {"base_channels": "???"}, r"[Mm]issing"),
    ("audio_encoder", {"down_sample_rates": ["${nowhere.rate}", 2]}, r"nowhere"),
    ("vector_quantizer", {"num_groups": "${trainer.groups}"}, r"trainer"),
]


@pytest.mark.parametrize(("section", "change", "reason"), OURS)
def test_what_is_of_the_network_is_named_by_section_and_key(
    section: str, change: dict[str, Any], reason: str, tmp_path: Path
) -> None:
    (key,) = change
    config = yaml.safe_dump({**CONFIG, section: {**CONFIG[section], **change}})
    place = rf"{section}\.{key}(\[0\])? describes the network and cannot be resolved"
    with pytest.raises(
        CheckpointError, match=rf"model_config.yaml: {place} \(.*{reason}.*\); set what it asks"
    ):
        loaded(tmp_path / "author.nemo", config)


def test_a_tag_in_the_network_is_named(tmp_path: Path) -> None:
    config = yaml.safe_dump(CONFIG).replace("base_channels: 16", "base_channels: !from_env 16")
    with pytest.raises(CheckpointError, match=r"audio_decoder\.base_channels .*the YAML tag !from_env"):
        loaded(tmp_path / "author.nemo", config)


def test_a_variable_that_is_set_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRITONE_CHANNELS", "16")
    channels = "${oc.decode:${oc.env:TRITONE_CHANNELS}}"
    changed = {**CONFIG, "audio_decoder": {**CONFIG["audio_decoder"], "base_channels": channels}}
    assert loaded(tmp_path / "author.nemo", yaml.safe_dump(changed)).geometry.num_codebooks == 4


def test_a_value_may_come_from_a_section_with_other_things_in_it(tmp_path: Path) -> None:
    config = yaml.safe_dump({**CONFIG, "sample_rate": "${train_ds.rate}"})
    config += f"train_ds: {{rate: {CONFIG['sample_rate']}, path: '${{oc.env:TRITONE_NO_SUCH_VARIABLE}}'}}\n"
    assert loaded(tmp_path / "author.nemo", config).geometry.sample_rate_hz == CONFIG["sample_rate"]


@pytest.mark.parametrize("text", [b"- a\n- b", b"a: [", b"\xff\xfe\xfa", b""])
def test_what_is_no_configuration_is_refused(text: bytes) -> None:
    with pytest.raises(CheckpointError, match=r"x: model_config.yaml (cannot be read|is no mapping)"):
        LazyConfig(text, "x: model_config.yaml")
