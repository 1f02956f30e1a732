"""The target ``cuda``, built by the command, checked, and run on the CPU: in process and by a real server."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from google.protobuf import text_format
from numpy.typing import NDArray
from tritonclient.grpc import model_config_pb2 as pb

from tritone_build.checkpoints.checkpoint import Checkpoint
from tritone_build.cli import main
from tritone_client import Codec, RepositoryError, TokensError
from tritone_runtime import fit
from tritone_runtime.errors import DamagedModelError, DeviceError, NoGpuError
from tritone_runtime.executors.device import VARIABLE, chosen_device
from tritone_runtime.fidelity import snr_db
from tritone_runtime.local_models import local_models
from tritone_server.launcher import Ports, ServerError, TritonServer

NAME = "small_nanocodec"
MODELS = [f"{NAME}_{role}" for role in ("dequantize", "vocoder", "encode", "decode_stream")]


@pytest.fixture(scope="module")
def command(checkpoints: dict[str, Checkpoint], tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = tmp_path_factory.mktemp("cuda")
    return [NAME, "--checkpoint", checkpoints[NAME].source, "--target", "cuda", "--repository", str(folder)]


@pytest.fixture(scope="module")
def built(command: list[str]) -> Path:
    assert main(["models", *command]) == 0
    return Path(command[-1])


@pytest.fixture(scope="module")
def tokens() -> NDArray[np.int64]:
    return np.random.default_rng(0).integers(0, 4032, (4, 37))


@pytest.fixture(scope="module")
def exact(repository: Path, tokens: NDArray[np.int64]) -> NDArray[np.float32]:
    """FP32 by ONNX Runtime."""
    with Codec(NAME, repository) as codec:
        return codec.decode(tokens)


@pytest.fixture(params=["in_process", "served"])
def codec(request: pytest.FixtureRequest, built: Path) -> Iterator[Codec]:
    if request.param == "in_process":
        with Codec(NAME, built, device="cpu") as codec:
            yield codec
        return
    server = TritonServer(built, [NAME], ports=Ports.free(), device="cpu")
    with server, Codec(NAME, server.url) as codec:
        yield codec


def manifest(built: Path, role: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((built / f"{NAME}_{role}" / "1" / "manifest.json").read_text())
    return found


def test_whole_inputs_and_streams(
    codec: Codec, exact: NDArray[np.float32], tokens: NDArray[np.int64]
) -> None:
    whole = codec.decode(tokens)
    assert whole.shape == exact.shape
    assert snr_db(exact, whole) >= 50
    assert codec.stream_info is not None
    assert codec.stream_info.max_streams == 1024
    streams = [codec.decode_stream() for _ in range(3)]
    pieces: list[list[NDArray[np.float32]]] = [[] for _ in streams]
    for at in (*range(30), 30):
        for stream, said in zip(streams, pieces, strict=True):
            said.append(stream.push(tokens[:, at : at + (7 if at == 30 else 1)]))
    for stream, said in zip(streams, pieces, strict=True):
        said.append(stream.close())
        assert snr_db(whole, np.concatenate(said)) >= 60  # in FP16, batches of other sizes round elsewhere
    audio = 0.1 * np.random.default_rng(1).standard_normal(3000).astype(np.float32)
    assert codec.encode(audio, codec.info.sample_rate_hz).shape[0] == 4


def test_a_bad_token_is_refused_and_its_stream_goes_on(codec: Codec, tokens: NDArray[np.int64]) -> None:
    with codec.decode_stream() as stream:
        first = stream.push(tokens[:, :3])
        with pytest.raises(TokensError, match=r"0\.\.4031"):
            stream.push(np.full((4, 1), 4032))
        rest = stream.push(tokens[:, 3:6])
    assert snr_db(codec.decode(tokens[:, :6]), np.concatenate([first, rest])) >= 60


def test_the_manifests_say_how_far_fp16_is(built: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert manifest(built, "decode_stream")["fidelity"]["snr_db"] >= 50
    assert manifest(built, "encode")["fidelity"]["equal_tokens"] >= 0.95
    assert manifest(built, "decode_stream")["target"] == "cuda"
    fit.check_whole(built, MODELS)


def test_fewer_streams_are_set_without_building_again(built: Path, command: list[str]) -> None:
    before = (built / MODELS[-1] / "1" / "model.pt2").stat()
    for streams in ("7", "1024"):
        assert main(["models", *command, "--max-streams", streams]) == 0
        config = text_format.Parse((built / MODELS[-1] / "config.pbtxt").read_text(), pb.ModelConfig())
        assert config.parameters["max_streams"].string_value == streams
        assert manifest(built, "decode_stream")["model"]["parameters"]["max_streams"] == streams
    assert (built / MODELS[-1] / "1" / "model.pt2").stat() == before


def test_more_streams_than_the_card_holds_are_refused(
    command: list[str], built: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    limits = ["--gpu-memory", "1", "--max-streams", "900000"]
    assert main(["models", *command, *limits]) == 1
    assert "ask for at most" in capsys.readouterr().err


def test_weights_that_a_target_cannot_have_are_refused(
    command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["models", *command, "--weights", "int8"]) == 1
    assert "models for cuda have weights in fp16 or fp32, got int8" in capsys.readouterr().err


def test_a_damaged_program_is_not_loaded(built: Path, tmp_path: Path) -> None:
    for model in MODELS[:1]:
        version = tmp_path / model / "1"
        version.mkdir(parents=True)
        for file in (built / model / "1").iterdir():
            (version / file.name).write_bytes(file.read_bytes())
    with (tmp_path / MODELS[0] / "1" / "model.pt2").open("r+b") as program:
        program.seek(100)
        program.write(b"damage")
    with pytest.raises(DamagedModelError, match="are not those that were built"):
        fit.check_whole(tmp_path, MODELS[:1])


def test_without_a_gpu_everyone_says_so(built: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def none_here() -> None:
        raise NoGpuError("this machine has no NVIDIA GPU")

    monkeypatch.setattr(fit, "gpu_here", none_here)
    with pytest.raises(ServerError, match="was built for an NVIDIA GPU, and nvidia-smi finds none here"):
        TritonServer(built, [NAME]).command()
    with pytest.raises(DeviceError, match="'tritone-build models small_nanocodec'"):
        fit.check_device(built, MODELS, "auto")


@pytest.mark.skipif(torch.cuda.is_available(), reason="PyTorch has a GPU here")
def test_without_a_gpu_a_codec_in_this_process_says_so(built: Path) -> None:
    with (
        Codec(NAME, built) as codec,
        pytest.raises(RepositoryError, match=r"PyTorch .* finds none here .* or try it on the CPU"),
    ):
        codec.decode(np.zeros((4, 3), np.int64))


def test_models_for_the_cpu_do_not_pretend_to_run_on_a_gpu(repository: Path) -> None:
    with pytest.raises(ServerError, match="--target cuda"):
        TritonServer(repository, [NAME], device="cuda").command()
    with (
        Codec(NAME, repository, device="cuda") as codec,
        pytest.raises(RepositoryError, match="was built for the CPU"),
    ):
        codec.decode(np.zeros((4, 3), np.int64))


def test_devices_that_do_not_exist_are_named(built: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "tpu")
    with pytest.raises(DeviceError, match="there is no device 'tpu'; choose one of auto, cpu, cuda"):
        chosen_device()
    with pytest.raises(RepositoryError, match="'npu'"):
        Codec(NAME, built, device="npu")
    assert local_models(built, "cpu").codecs() == [NAME]


def test_a_server_chooses_its_own_device() -> None:
    with pytest.raises(ValueError, match="tritone-serve --device"):
        Codec(NAME, "127.0.0.1:1", device="cuda")


def test_an_engine_of_the_step_is_compiled_beside_the_program(
    built: Path, command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """TensorRT-RTX compiles it here; only a GPU can run it, and the program stays for all other shapes."""
    assert main(["engines", *command, "--compiler", "tensorrt_rtx"]) == 0
    version = built / MODELS[-1] / "1"
    engine = manifest(built, "decode_stream")["engine"]
    assert engine["bytes"] == (version / "model.plan").stat().st_size
    assert engine["fp16_share_of_weights"] > 0.5
    fit.check_whole(built, MODELS)
    with Codec(NAME, built, device="cpu") as codec:
        assert codec.decode(np.zeros((4, 3), np.int64)).shape == (147,)
    assert main(["engines", *command, "--compiler", "tensorrt_rtx"]) == 0
    assert "up to date" in capsys.readouterr().err
