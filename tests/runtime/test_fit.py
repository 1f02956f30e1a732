"""Engines that do not fit the machine are refused with a reason, before the server loads them."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tritone_build.cli import main
from tritone_build.engines import cli as engines_cli
from tritone_build.repository.manifests import write_manifest
from tritone_runtime.errors import EngineMisfitError
from tritone_runtime.fit import Machine, check_fit, engines_among, machine_here
from tritone_runtime.gpu import Gpu
from tritone_runtime.manifests import ENGINE_FILE
from tritone_server.binaries import find_server

L4 = Gpu("NVIDIA L4", (8, 9), 24 << 30, "580.65.06")
ADA = Machine(L4, (11, 1, 0))
ENGINE = {
    "compiler": "tensorrt",
    "compiler_version": "11.1.0.106",
    "compute_capabilities": ["8.9"],
    "gpu": "NVIDIA L4",
    "onnx_sha256": "abc",
    "bytes": 4,
}


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository with an engine that fits and a model that is not an engine."""
    for name, file in (("small_vocoder", ENGINE_FILE), ("small_dequantize", "model.onnx")):
        (tmp_path / name / "1").mkdir(parents=True)
        (tmp_path / name / "config.pbtxt").write_text(f'default_model_filename: "{file}"')
    (tmp_path / "small_vocoder" / "1" / ENGINE_FILE).write_bytes(b"plan")
    described(tmp_path)
    return tmp_path


def described(repository: Path, **changes: Any) -> None:
    model = {"parameters": {"max_streams": "100", "state_bytes": "1000000"}}
    manifest = {"codec": "small", "onnx_sha256": "abc", "engine": ENGINE | changes, "model": model}
    write_manifest(repository / "small_vocoder" / "1", manifest)


MODELS = ["small_vocoder", "small_dequantize", "small_encode_stream"]


def refusal(repository: Path, machine: Machine = ADA) -> str:
    with pytest.raises(EngineMisfitError) as caught:
        check_fit(repository, MODELS, machine)
    return str(caught.value)


def test_engines_that_fit_are_served(repository: Path) -> None:
    assert engines_among(repository, MODELS) == ["small_vocoder"]
    check_fit(repository, MODELS, ADA)


def test_models_that_are_no_engines_fit_anywhere(repository: Path) -> None:
    check_fit(repository, ["small_dequantize"], Machine(None, None))


@pytest.mark.parametrize(
    ("machine", "words"),
    [
        (Machine(None, None), "small_vocoder are TensorRT engines, and this server has no TensorRT backend"),
        (Machine(None, (11, 1, 0)), "nvidia-smi finds no GPU here"),
        (
            Machine(replace(L4, capability=(9, 0)), (11, 1, 0)),
            r"is for compute capability 8\.9, this GPU has 9\.0",
        ),
        (Machine(L4, (10, 14, 1)), r"by TensorRT 11\.1\.0\.106, this server has 10\.14\.1"),
        (
            Machine(replace(L4, name="NVIDIA GeForce RTX 4090"), (11, 1, 0)),
            "was compiled on an NVIDIA L4, this GPU is an NVIDIA GeForce RTX 4090; compile it again",
        ),
        (
            Machine(replace(L4, driver="550.54.15"), (11, 1, 0)),
            r"driver of the NVIDIA L4 is 550\.54\.15, and CUDA 13 needs 580 or newer",
        ),
    ],
)
def test_another_machine_is_distinguished(repository: Path, machine: Machine, words: str) -> None:
    assert re.search(words, refusal(repository, machine))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"compiler": "tensorrt_rtx"}, "by tensorrt_rtx, which Triton's TensorRT backend cannot load"),
        ({"onnx_sha256": "abd"}, "was compiled from another graph than lies beside it"),
        ({"bytes": 5}, "has 4 bytes where 5 were written"),
    ],
)
def test_an_engine_that_differs_from_its_manifest_is_refused(
    repository: Path, changes: dict[str, Any], words: str
) -> None:
    described(repository, **changes)
    message = refusal(repository)
    assert words in message
    assert "tritone-build engines small --force" in message


def test_streams_that_do_not_fit_the_gpu_are_refused_before_the_start(repository: Path) -> None:
    small = Machine(replace(L4, memory_bytes=200_000_000), (11, 1, 0))
    message = refusal(repository, small)
    assert "the NVIDIA L4 has 0.2 GB of memory, and small_vocoder take 0.0 GB and 0.3 GB for" in message
    assert "tritone-build engines --max-streams N" in message


def test_a_missing_engine_says_how_it_is_made(repository: Path) -> None:
    (repository / "small_vocoder" / "1" / ENGINE_FILE).unlink()
    assert "small_vocoder has no engine; compile it, where it is served" in refusal(repository)


def test_the_server_of_the_tests_has_neither_tensorrt_nor_a_gpu() -> None:
    _, backends, _ = find_server()
    assert machine_here(backends).tensorrt is None


def test_the_command_line_says_what_fits_and_what_does_not(
    repository: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    where = ["--repository", str(repository)]
    assert main(["check", *where]) == 1
    assert "this server has no TensorRT backend" in capsys.readouterr().err
    assert main(["check", "another", *where]) == 1
    assert "no engines in" in capsys.readouterr().err
    monkeypatch.setattr(engines_cli, "machine_here", lambda _: ADA)
    assert main(["check", *where]) == 0
    said = capsys.readouterr().out
    assert "1 engines fit this machine: small_vocoder" in said
    assert "the state of their streams takes 0.3 GB of its memory" in said
    assert main(["check", "--flags", *where]) == 0
    assert capsys.readouterr().out == f"--cuda-memory-pool-byte-size=0:{200 * 10**6 + (64 << 20)}\n"
