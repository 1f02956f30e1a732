"""How many live streams a GPU's memory holds, and how they are asked for."""

from pathlib import Path
from typing import Any

import pytest
import torch
from google.protobuf import text_format
from helpers.paths import ROOT
from tritonclient.grpc import model_config_pb2 as pb

from tritone_build.cli import main
from tritone_build.codecs import VARIANTS, outline_of
from tritone_build.engines.capacity import Capacity
from tritone_build.errors import CapacityError
from tritone_build.graphs.role import Role
from tritone_build.graphs.roles import roles
from tritone_build.repository.engine_configs import engine_configs
from tritone_build.repository.manifests import write_manifest
from tritone_build.repository.writing import describe
from tritone_runtime.manifests import read_manifest
from tritone_runtime.state_pool import pool_option, state_pool_bytes


def parts_of(name: str) -> list[Role]:
    with torch.device("meta"):
        return list(roles(outline_of(VARIANTS[name]), "tensorrt"))


def state_of(parts: list[Role]) -> int:
    return sum(role.packing.state_bytes for role in parts if role.packing is not None)


@pytest.mark.parametrize("name", ["mimi", "moss"])
def test_two_copies_of_every_state_fit_half_of_the_memory(name: str) -> None:
    parts, memory = parts_of(name), 8 << 30
    streams = Capacity(memory).streams(name, parts)
    assert 2 * streams * state_of(parts) <= memory / 2 < 2 * (streams + 1) * state_of(parts)


def test_a_small_state_and_none_are_limited_by_number_alone() -> None:
    assert Capacity().streams("nanocodec", parts_of("nanocodec")) == 1024
    assert Capacity(1).streams("lfsc", parts_of("lfsc")) == 1024


def test_more_streams_than_fit_are_refused_with_the_number_that_does() -> None:
    parts, memory = parts_of("mimi"), 8 << 30
    most = Capacity(memory).streams("mimi", parts)
    assert Capacity(memory, most).streams("mimi", parts) == most
    words = rf"state of {most + 1} streams of mimi takes 4\.\d GB; .* 4\.3 GB: ask for at most {most} "
    with pytest.raises(CapacityError, match=words):
        Capacity(memory, most + 1).streams("mimi", parts)
    with pytest.raises(CapacityError, match=r"of 1 streams of moss .* at most 0 "):
        Capacity(1 << 28).streams("moss", parts_of("moss"))


@pytest.mark.parametrize("name", [name for name in VARIANTS if name != "lfsc"])
def test_the_page_on_gpus_states_what_fits(name: str) -> None:
    parts = parts_of(name)
    states = [f"{role.packing.state_bytes / 1e6:.2f}" for role in parts if role.packing is not None]
    streams = Capacity().streams(name, parts)
    pool = 2 * streams * state_of(parts) + (64 << 20)
    row = f"| `{name}` | {' and '.join(states)} MB | {streams} | {pool / 1e9:.1f} GB |"
    assert row in (ROOT / "docs" / "gpu.md").read_text()


def test_batches_are_powers_of_two_and_never_empty() -> None:
    sizes = [Capacity(memory << 30).rows(4 << 20) for memory in (1, 8, 24, 80)]
    assert sizes == [16, 128, 512, 1024]
    assert Capacity(1).rows(4 << 20) == 1


def configs_in(folder: Path, *options: str) -> dict[str, pb.ModelConfig]:
    assert main(["configs", "mimi", "--repository", str(folder), *options]) == 0
    return {
        path.parent.name: text_format.Parse(path.read_text(), pb.ModelConfig())
        for path in folder.glob("*/config.pbtxt")
    }


def test_the_options_are_in_the_configs(tmp_path: Path) -> None:
    few = configs_in(tmp_path / "few", "--max-streams", "7")["mimi_decode_stream"]
    assert few.sequence_batching.oldest.max_candidate_sequences == 7
    assert few.parameters["max_streams"].string_value == "7"
    small = configs_in(tmp_path / "small", "--gpu-memory", "6")["mimi_decode_stream"]
    usual = configs_in(tmp_path / "usual")["mimi_decode_stream"]
    assert int(small.parameters["max_streams"].string_value) < int(
        usual.parameters["max_streams"].string_value
    )
    assert small.max_batch_size < usual.max_batch_size


@pytest.mark.parametrize(
    ("option", "value", "words"),
    [
        ("--max-streams", "0", "'0' is not a number of streams, 1 or more"),
        ("--max-streams", "many", "'many' is not a number of streams"),
        ("--gpu-memory", "-1", "'-1' is not a size in GB, such as 24"),
        ("--gpu-memory", "inf", "'inf' is not a size in GB"),
    ],
)
def test_wrong_options_are_told(
    option: str, value: str, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(["configs", f"{option}={value}"])
    assert words in capsys.readouterr().err


def test_the_command_line_tells_what_does_not_fit(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["configs", "moss", "--max-streams", "1000", "--repository", str(tmp_path)]
    assert main(arguments) == 1
    assert "name a larger GPU with --gpu-memory" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_the_pool_holds_two_states_of_every_stream_and_a_margin(tmp_path: Path) -> None:
    with torch.device("meta"):
        codec = outline_of(VARIANTS["mimi"])
    parts = parts_of("mimi")
    configs = engine_configs(codec, parts, Capacity(max_streams=10))
    for config in configs.values():
        write_manifest(tmp_path / config.name / "1", {"codec": "mimi"})
    describe(configs, tmp_path)
    engines = [config.name for config in configs.values()]
    pool = state_pool_bytes(tmp_path, engines)
    assert pool == 20 * state_of(parts) + (64 << 20)
    assert pool_option(pool) == {"cuda-memory-pool-byte-size": f"0:{pool}"}
    assert state_pool_bytes(tmp_path, ["mimi_vocoder"]) == 0
    assert pool_option(0) == {}


def test_only_what_is_built_is_described(tmp_path: Path) -> None:
    with torch.device("meta"):
        codec = outline_of(VARIANTS["mimi"])
    configs: dict[str, Any] = engine_configs(codec, parts_of("mimi"))
    write_manifest(tmp_path / "mimi_decode_stream" / "1", {"codec": "mimi"})
    describe(configs, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mimi_decode_stream"]
    manifest = read_manifest(tmp_path / "mimi_decode_stream" / "1")
    assert manifest["codec"] == "mimi"
    assert "max_streams" in manifest["model"]["parameters"]
