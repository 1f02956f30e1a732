"""Engines, compiled by the real TensorRT-RTX on this machine's CPU."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import onnx
import pytest
from helpers.engine_graphs import EngineGraphs

from tritone_build.checkpoints.checkpoint import Checkpoint
from tritone_build.checkpoints.fixtures import write_nemo
from tritone_build.codecs.base import Codec
from tritone_build.engines.compiler import Compiler, find_compiler
from tritone_build.engines.engine import build_engine, engine_roles, is_built
from tritone_build.engines.inspection import inspect_network
from tritone_build.errors import CompilerMissingError, EngineError, PrecisionError
from tritone_build.graphs.role import Role
from tritone_build.graphs.roles import roles
from tritone_runtime.manifests import ENGINE_FILE, ONNX_FILE, read_manifest

NAME = "small_nanocodec"
ROLES = ("dequantize", "vocoder", "encode", "decode_stream", "decode")


@pytest.fixture(scope="module")
def compiler() -> Compiler:
    return find_compiler("tensorrt_rtx", [(8, 9)])


@pytest.fixture(scope="module")
def parts(codecs: dict[str, Codec]) -> dict[str, Role]:
    return {role.name: role for role in engine_roles(roles(codecs[NAME], "tensorrt"))}


@pytest.fixture(scope="module")
def graphs(engine_graphs: EngineGraphs, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return engine_graphs.copied(NAME, tmp_path_factory.mktemp("engines"))


def test_an_engine_is_built_inspected_and_described(
    codecs: dict[str, Codec], graphs: Path, parts: dict[str, Role], compiler: Compiler
) -> None:
    role, codec = parts["vocoder"], codecs[NAME]
    assert not is_built(codec, role, graphs, compiler)
    engine = build_engine(codec, role, graphs, compiler)
    version = graphs / f"{NAME}_vocoder" / "1"
    assert (version / ENGINE_FILE).stat().st_size == engine.size_bytes > 0
    assert is_built(codec, role, graphs, compiler)
    assert not is_built(codec, role, graphs, replace(compiler, capabilities=((12, 0),)))
    made = read_manifest(version)["engine"]
    assert made["compiler"] == "tensorrt_rtx"
    assert made["compute_capabilities"] == ["8.9"]
    assert made["precision"] == "fp16"
    assert made["fp16_share_of_weights"] > 0.5
    assert [profile["name"] for profile in made["profiles"]] == ["low_latency", "interactive", "bulk"]


def test_where_fp16_is_too_far_from_fp32_no_engine_is_built(
    codecs: dict[str, Codec], graphs: Path, parts: dict[str, Role], compiler: Compiler
) -> None:
    with pytest.raises(PrecisionError, match=rf"{NAME}_decode_stream: FP16 is [\d.]+ dB .* at least 900 is"):
        build_engine(codecs[NAME], parts["decode_stream"], graphs, compiler, least_db=900)
    assert not (graphs / f"{NAME}_decode_stream" / "1" / ENGINE_FILE).exists()


def test_a_network_in_fp32_is_an_error(
    codecs: dict[str, Codec], parts: dict[str, Role], compiler: Compiler, repository: Path
) -> None:
    network = compiler.parse(repository / f"{NAME}_vocoder" / "1" / ONNX_FILE)
    with pytest.raises(
        EngineError, match="vocoder: only 0% of the weights of its convolutions and matrix products"
    ):
        inspect_network(network, parts["vocoder"])


def test_tensors_of_other_names_are_an_error(
    graphs: Path, parts: dict[str, Role], compiler: Compiler
) -> None:
    network = compiler.parse(graphs / f"{NAME}_vocoder" / "1" / ONNX_FILE)
    with pytest.raises(EngineError, match="encode: TensorRT has tensors"):
        inspect_network(network, parts["encode"])


def test_an_operator_that_tensorrt_does_not_know_is_named(tmp_path: Path, compiler: Compiler) -> None:
    values = [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1]) for name in "xy"]
    node = onnx.helper.make_node("Yodel", ["x"], ["y"], name="the_yodel", domain="foreign")
    graph = onnx.helper.make_graph([node], "g", values[:1], values[1:])
    opsets = [onnx.helper.make_opsetid("", 20), onnx.helper.make_opsetid("foreign", 1)]
    path = tmp_path / "model.onnx"
    onnx.save(onnx.helper.make_model(graph, opset_imports=opsets), path)
    with pytest.raises(EngineError, match=r"node the_yodel \(Yodel\)"):
        compiler.parse(path)


def test_why_no_engine_was_built_is_told_in_tensorrts_words(
    codecs: dict[str, Codec], graphs: Path, parts: dict[str, Role], compiler: Compiler
) -> None:
    with pytest.raises(EngineError, match=r"built no engine: .*(workspace|OutOfMemory)"):
        build_engine(codecs[NAME], parts["vocoder"], graphs, compiler, memory_gb=1e-6)


def test_a_missing_compiler_says_where_it_is_to_be_had() -> None:
    with pytest.raises(CompilerMissingError, match=r"NVIDIA's containers"):
        find_compiler("tensorrt")


def run(*arguments: str, limit_kb: str = "unlimited") -> "subprocess.CompletedProcess[str]":
    builder = str(Path(sys.executable).with_name("tritone-build"))
    command = ["bash", "-c", f'ulimit -f {limit_kb}; exec "$@"', "bash", builder, *arguments]
    return subprocess.run(command, check=False, capture_output=True, text=True)


def test_no_half_an_engine_stays_when_there_is_no_room(
    checkpoints: dict[str, Checkpoint], graphs: Path, parts: dict[str, Role]
) -> None:
    source = ("engines", NAME, "--checkpoint", checkpoints[NAME].source, "--repository", str(graphs))
    found = run(*source, "--only", "decode_stream", "--compiler", "tensorrt_rtx", limit_kb="64")
    assert found.returncode == 1
    assert "File too large" in found.stderr
    version = graphs / f"{NAME}_decode_stream" / "1"
    assert not list(version.glob(f"{ENGINE_FILE}*"))


def test_a_build_counts_in_one_line_what_becomes_zero_in_fp16_and_manifests_list_it(
    checkpoints: dict[str, Checkpoint], tmp_path: Path
) -> None:
    published = checkpoints[NAME]
    tensors = {name: tensor.clone() for name, tensor in published.tensors.items()}
    tensors["audio_decoder.pre_conv.conv.parametrizations.weight.original1"][0, 0, :2] = 1e-9
    source = write_nemo(tmp_path / "tiny.nemo", published.config, tensors)
    built = ("--repository", str(tmp_path / "models"), "--compiler", "tensorrt_rtx")
    done = run("engines", NAME, "--checkpoint", str(source), *built, "--only", "vocoder", "encode")
    assert done.returncode == 0, done.stderr
    (line,) = (line for line in done.stderr.splitlines() if "zero in FP16" in line)
    assert line.startswith(f"{NAME}_vocoder: 2 of 1,792 values become zero in FP16")
    manifests = {role: read_manifest(tmp_path / "models" / f"{NAME}_{role}" / "1") for role in ROLES}
    zeros = {role: manifest.pop("zero_in_fp16", None) for role, manifest in manifests.items()}
    listed = zeros["vocoder"]
    assert listed == zeros["decode_stream"]
    assert {name: (weight["values"], weight["zero"]) for name, weight in listed.items()} == {
        "decoder.pre_conv.weight": (1792, 2)
    }
    assert 0 < listed["decoder.pre_conv.weight"]["largest"] < 3e-8
    assert (zeros["encode"], zeros["dequantize"], zeros["decode"]) == ({}, None, None)


def test_a_dry_run_prints_trtexecs_commands(checkpoints: dict[str, Checkpoint], tmp_path: Path) -> None:
    found = run("engines", "--checkpoint", checkpoints[NAME].source, NAME, "--dry-run")
    assert found.returncode == 0
    commands = found.stdout.splitlines()
    assert [command.split()[0] for command in commands] == ["trtexec"] * 3
    assert "--stronglyTyped" in commands[0]
    assert "--minShapes=latent:1x16x9,latent_len:1x1" in commands[0]


def test_a_compute_capability_must_look_like_one() -> None:
    found = run("engines", "nanocodec_mini", "--capability", "Ada", "--dry-run")
    assert found.returncode == 2
    assert "'Ada' is not a compute capability, such as 8.9" in found.stderr
