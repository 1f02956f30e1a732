"""The committed repository: what NVIDIA's container serves once the engines are built."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import torch
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2 as pb

from tritone_build.cli import main
from tritone_build.codecs import VARIANTS, outline_of
from tritone_build.engines.profiles import profiles_of
from tritone_build.graphs.roles import roles
from tritone_build.repository.configs import model_name
from tritone_server.binaries import find_server
from tritone_server.launcher import Ports

COMMITTED = Path("model_repository")
SPOILT = "spoilt_stream"
CONFIGS = sorted(COMMITTED.glob("*/config.pbtxt"))


def parsed(path: Path) -> pb.ModelConfig:
    return text_format.Parse(path.read_text(), pb.ModelConfig())


def named(role: str) -> list[pb.ModelConfig]:
    return [parsed(path) for path in CONFIGS if path.parent.name.endswith(role)]


def test_the_committed_repository_is_what_the_code_writes(tmp_path: Path) -> None:
    assert main(["configs", "--repository", str(tmp_path)]) == 0
    written = {path.parent.name: path.read_bytes() for path in tmp_path.glob("*/config.pbtxt")}
    committed = {path.parent.name: path.read_bytes() for path in CONFIGS}
    assert committed == written, "run 'tritone-build configs --repository model_repository'"
    assert {name.removesuffix("_decode") for name in written if name.endswith("_decode")} == set(VARIANTS)


def test_states_pair_alike_by_place_and_by_order_of_names() -> None:
    """Triton pairs implicit states by the order of their names (server#8586)."""
    streams = named("_stream")
    assert streams
    for config in streams:
        states = config.sequence_batching.state
        ins, outs = [s.input_name for s in states], [s.output_name for s in states]
        assert ins == sorted(ins)
        assert outs == sorted(outs)
        assert [name.removeprefix("past_") for name in ins] == [name.removeprefix("next_") for name in outs]


def test_states_start_at_zero_in_place_and_without_axes_that_vary() -> None:
    for config in named("_stream"):
        assert config.sequence_batching.WhichOneof("strategy_choice") == "oldest"
        for state in config.sequence_batching.state:
            (initial,) = state.initial_state
            assert initial.zero_data
            assert initial.name
            assert (initial.data_type, list(initial.dims)) == (state.data_type, list(state.dims))
            assert min(state.dims) > 0
            assert state.use_same_buffer_for_input_output
            wanted = pb.TYPE_INT64 if "counts" in state.input_name else pb.TYPE_FP16
            assert state.data_type == wanted


def test_tables_stay_on_the_cpu_and_networks_are_engines() -> None:
    for config in map(parsed, CONFIGS):
        if config.platform == "ensemble":
            continue
        (group,) = config.instance_group
        if config.name.endswith("_dequantize"):
            assert (config.backend, group.kind) == ("onnxruntime", pb.ModelInstanceGroup.KIND_CPU)
        else:
            assert (config.backend, group.kind) == ("tensorrt", pb.ModelInstanceGroup.KIND_GPU)
            assert config.default_model_filename == "model.plan"
            assert not config.optimization.cuda.graphs, "CUDA graphs are off until switched on"
            assert (
                config.parameters["execution_context_allocation_strategy"].string_value == "ON_PROFILE_CHANGE"
            )


def test_one_switch_turns_cuda_graphs_on(tmp_path: Path) -> None:
    assert main(["configs", "nanocodec_mini", "--cuda-graphs", "--repository", str(tmp_path)]) == 0
    configs = [parsed(path) for path in tmp_path.glob("*/config.pbtxt")]
    assert {config.name for config in configs if config.optimization.cuda.graphs} == {
        config.name for config in configs if config.name.endswith("_stream")
    }


def test_graphs_serve_every_batch_of_single_frames() -> None:
    for config in named("_stream"):
        specs = config.optimization.cuda.graph_spec
        served = [n for spec in specs for n in range(spec.graph_lower_bound.batch_size, spec.batch_size + 1)]
        assert served == list(range(1, config.max_batch_size + 1))
        for spec in specs:
            assert spec.input == spec.graph_lower_bound.input
            assert set(spec.input) >= {state.input_name for state in config.sequence_batching.state}
    for config in (*named("_vocoder"), *named("_encode")):
        assert not config.optimization.cuda.graph_spec


def test_an_ensemble_takes_no_larger_batch_than_its_models() -> None:
    sizes = {config.name: config.max_batch_size for config in map(parsed, CONFIGS)}
    for config in named("_decode"):
        for step in config.ensemble_scheduling.step:
            assert config.max_batch_size <= sizes[step.model_name]


STAND_IN = """
class TritonPythonModel:
    def initialize(self, args):
        raise RuntimeError("the engine would be loaded now")
"""
"""A backend called tensorrt: without one the server stops before it looks at the rest of a config."""


def on_this_machine(config: pb.ModelConfig) -> pb.ModelConfig:
    """The same on a CPU: without a GPU the server stops there."""
    for group in config.instance_group:
        group.kind = pb.ModelInstanceGroup.KIND_CPU
        group.ClearField("profile")
    return config


@pytest.fixture(scope="module")
def complaints(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What the real server says about each model, engines being absent."""
    folder, log = tmp_path_factory.mktemp("committed"), tmp_path_factory.mktemp("log") / "log"
    spoilt = parsed(COMMITTED / "mimi_decode_stream" / "config.pbtxt")
    spoilt.name, spoilt.input[0].data_type = SPOILT, pb.TYPE_INVALID
    for config in (*map(parsed, CONFIGS), spoilt):
        (folder / config.name / "1").mkdir(parents=True)
        text = text_format.MessageToString(on_this_machine(config))
        (folder / config.name / "config.pbtxt").write_text(text)
    executable, backends, environment = find_server()
    backends = shutil.copytree(backends, tmp_path_factory.mktemp("with_stand_in") / "backends")
    shutil.copytree(backends / "tritone", backends / "onnxruntime")  # which the container has of its own
    (backends / "tensorrt").mkdir()
    (backends / "tensorrt" / "model.py").write_text(STAND_IN)
    ports = Ports.free()
    command = [str(executable), f"--model-repository={folder}", f"--backend-directory={backends}"]
    command += [f"--http-port={ports.http}", f"--grpc-port={ports.grpc}", f"--metrics-port={ports.metrics}"]
    with log.open("wb") as file:
        subprocess.run(
            command, env=os.environ | environment, stdout=file, stderr=file, check=False, timeout=600
        )
    found = re.findall(r"^\| (\w+) +\| \S+ +\| (UNAVAILABLE: .*?) *\|$", log.read_text(), re.MULTILINE)
    return dict(found)


def test_the_real_server_reads_every_config_and_misses_only_what_is_not_built(
    complaints: dict[str, str],
) -> None:
    models = {path.parent.name for path in CONFIGS}
    ensembles = {name for name in models if name.endswith("_decode")}
    assert set(complaints) == (models - ensembles) | {SPOILT}
    for name, complaint in complaints.items():
        if name.endswith("_dequantize"):
            assert "model.onnx is missing" in complaint
        elif name != SPOILT:
            assert "the engine would be loaded now" in complaint


def test_the_real_server_would_have_said_what_is_wrong(complaints: dict[str, str]) -> None:
    assert "model input 'tokens' must specify 'data_type'" in complaints[SPOILT]


@pytest.mark.parametrize("name", list(VARIANTS))
def test_configs_agree_with_what_the_engines_take_and_give(name: str) -> None:
    with torch.device("meta"):
        codec = outline_of(VARIANTS[name])
        parts = [role for role in roles(codec, "tensorrt") if role.engine]
    for role in parts:
        config = parsed(COMMITTED / model_name(name, role.name) / "config.pbtxt")
        states = config.sequence_batching.state
        ins = {tensor.name: list(tensor.dims) for tensor in config.input}
        ins |= {state.input_name: list(state.dims) for state in states}
        outs = {tensor.name: list(tensor.dims) for tensor in config.output}
        outs |= {state.output_name: list(state.dims) for state in states}
        for found, expected in ((ins, role.inputs), (outs, role.outputs)):
            assert found == {
                tensor: [-1 if isinstance(axis, str) else axis for axis in axes[1:]]
                for tensor, axes in expected.items()
            }
        assert config.max_batch_size == profiles_of(role, codec.geometry)[0].batch.most
        assert len(config.instance_group[0].profile) == len(profiles_of(role, codec.geometry))
