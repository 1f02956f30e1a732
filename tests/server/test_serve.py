"""``tritone-serve`` serves models that work, and names those that do not."""

import json
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import onnx
import psutil
import pytest
from helpers.copies import copied_without_hashes
from helpers.paths import ROOT
from helpers.servers.raw import HANGS_S, paused
from onnx import helper

from tritone_server.launcher import Ports, ServerError, TritonServer
from tritone_server.smoke import SmokeError, smoke

NAME, STREAM = "small_nanocodec", "small_nanocodec_decode_stream"
STEREO = "small_moss_nano"


@pytest.fixture
def own_repository(repository: Path, tmp_path: Path) -> Path:
    """A copy, to be spoilt."""
    return copied_without_hashes(repository, NAME, tmp_path / "models")


def command(repository: Path, *options: str) -> list[str]:
    ports = [f"--{name}-port={port}" for name, port in vars(Ports.free()).items()]
    return [
        sys.executable,
        "-m",
        "tritone_server.cli",
        NAME,
        "--repository",
        str(repository),
        *ports,
        *options,
    ]


def served(repository: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """For commands that end by themselves."""
    return subprocess.run(
        command(repository, *options), cwd=ROOT, capture_output=True, text=True, timeout=HANGS_S, check=False
    )


def test_every_model_is_tried_and_then_served_until_a_signal_comes(own_repository: Path) -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        with subprocess.Popen(
            command(own_repository, f"--grace={2 * HANGS_S}"),
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        ) as process:
            assert process.stdout is not None
            lines: list[str] = []
            while not lines or not lines[-1].startswith("log: "):
                lines.append(process.stdout.readline())
                assert lines[-1], "it has ended"
            process.send_signal(number)
            try:
                assert process.wait(HANGS_S) == 0, "nobody is left to wait for"
            finally:
                process.kill()
        said = "".join(lines)
        for role in ("encode", "decode", "decode_stream"):
            assert re.search(rf"{NAME}_{role} +ok +[\d.]+ ms", said)
        assert "device" not in said, "models for the CPU run on the CPU"
        assert f"serving {NAME}: gRPC 127.0.0.1:" in said


@contextmanager
def losing_a_model(repository: Path, *options: str) -> Iterator[subprocess.Popen[str]]:
    """A server, the process of one of whose models has been killed."""
    with subprocess.Popen(
        command(repository, "--no-smoke", "--grace=1", *options),
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        assert process.stdout is not None
        assert any(line.startswith("log: ") for line in process.stdout), "it has ended"
        models = [
            each for each in psutil.Process(process.pid).children(recursive=True) if "stub" in each.name()
        ]
        models[0].kill()
        yield process


def test_a_server_that_has_lost_a_model_is_restarted(own_repository: Path) -> None:
    with losing_a_model(own_repository) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith(
            "the process of a model ended, so the server is restarted"
        )
        assert process.stdout.readline().startswith("serving again: gRPC 127.0.0.1:")
        process.terminate()
        assert process.wait(HANGS_S) == 0


def test_a_server_that_has_lost_a_model_is_stopped_where_it_may_not_be_restarted(
    own_repository: Path,
) -> None:
    with losing_a_model(own_repository, "--most-restarts=0") as process:
        _, said = process.communicate(timeout=HANGS_S)
    assert process.returncode == 1
    assert "the process of a model ended, so the server was stopped" in said


def test_a_dry_run_only_shows_the_command(own_repository: Path) -> None:
    done = served(own_repository, "--dry-run")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("\n") == 1
    folder = re.findall(r"--model-repository=(\S+)", done.stdout)[0]
    roles = ("decode", "dequantize", "encode", "vocoder")
    assert sorted(each.name for each in Path(folder).iterdir()) == sorted(
        [*(f"{NAME}_{role}" for role in roles), STREAM]
    )


def test_engines_are_refused_where_no_tensorrt_is() -> None:
    named = [
        sys.executable,
        "-m",
        "tritone_server.cli",
        "nanocodec_mini",
        "--repository",
        "model_repository",
    ]
    done = subprocess.run(named, cwd=ROOT, capture_output=True, text=True, timeout=HANGS_S, check=False)
    assert done.returncode == 1
    assert "nanocodec_mini_vocoder" in done.stderr
    assert "are TensorRT engines, and this server has no TensorRT backend" in done.stderr


def wrong_state_shape(model: Path) -> None:
    proto = onnx.load(model)
    (state,) = [each for each in proto.metadata_props if each.key == "state"]
    tensors = json.loads(state.value)
    tensors[0]["shape"][-1] += 1
    state.value = json.dumps(tensors)
    onnx.save(proto, model)


def forgetful(model: Path) -> None:
    """Every past is taken for nothing."""
    proto = onnx.load(model)
    pasts = [tensor.name for tensor in proto.graph.input if tensor.name.startswith("past_")]
    for node in proto.graph.node:
        node.input[:] = [f"no_{name}" if name in pasts else name for name in node.input]
    for past in pasts:
        proto.graph.node.insert(0, helper.make_node("Sub", [past, past], [f"no_{past}"]))
    onnx.save(proto, model)


def of_another_codec(model: Path) -> None:
    shutil.copy2(model.parents[2] / f"{NAME}_encode" / "1" / "model.onnx", model)


SPOILT: dict[str, tuple[str, Callable[[Path], None], str]] = {
    NAME: ("decode_stream", wrong_state_shape, r"start a stream of 4 codebooks: .* the model failed: "),
    STEREO: (
        "decode_stream",
        forgetful,
        r"decode a stream of \d+ codebooks: frame \d+ is the first wrong one: ",
    ),
    f"{NAME}_1890bps": ("encode", of_another_codec, r"encode noise into \d+ codebooks: expected \["),
}


def test_a_model_that_fails_is_named_with_what_it_cannot_do(repository: Path, own_repository: Path) -> None:
    copied_without_hashes(repository, STEREO, own_repository)
    for name, (role, spoil, _) in SPOILT.items():
        spoil(own_repository / f"{name}_{role}" / "1" / "model.onnx")
    with TritonServer(own_repository, list(SPOILT), ports=Ports.free()) as server:
        for name, (role, _, said) in SPOILT.items():
            tried: list[str] = []
            with pytest.raises(SmokeError, match=f"^{name}_{role} cannot {said}"):
                smoke(server.url, TritonServer(own_repository, [name]).models(), tried.append)
            assert not [line for line in tried if f"{name}_{role} " in line]


def test_a_model_that_a_disk_has_damaged_is_not_served(repository: Path, tmp_path: Path) -> None:
    for folder in repository.glob(f"{NAME}_*"):
        shutil.copytree(folder, tmp_path / folder.name)
    model = tmp_path / f"{NAME}_vocoder" / "1" / "model.onnx"
    content = bytearray(model.read_bytes())
    content[len(content) // 2] ^= 1  # within a weight: it loads, and sounds a little wrong
    model.write_bytes(content)
    with pytest.raises(ServerError, match=rf"{NAME}_vocoder in .*: the files are not those that were built"):
        TritonServer(tmp_path, [NAME], ports=Ports.free()).start()


def test_a_limit_of_streams_that_is_no_number_is_refused(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRITONE_MAX_STREAMS", "few")
    with pytest.raises(ServerError, match=rf"{STREAM}: .*TRITONE_MAX_STREAMS is a number.*got 'few'"):
        TritonServer(repository, [NAME], ports=Ports.free()).start()


def test_where_a_model_fails_nothing_is_served(own_repository: Path) -> None:
    wrong_state_shape(own_repository / STREAM / "1" / "model.onnx")
    done = served(own_repository)
    assert done.returncode == 1
    assert re.match(rf"tritone-serve: {STREAM} cannot start .* \(log: \S+\)$", done.stderr, re.DOTALL), (
        done.stderr
    )
    assert "Traceback" not in done.stderr
    assert f"{NAME}_decode " in done.stdout
    assert "serving" not in done.stdout


def test_untried_models_are_served_on_request(own_repository: Path) -> None:
    wrong_state_shape(own_repository / STREAM / "1" / "model.onnx")
    with subprocess.Popen(
        command(own_repository, "--no-smoke"), cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith(f"serving {NAME}: ")
        process.terminate()
        assert process.wait(HANGS_S) == 0


def test_a_server_that_does_not_answer_is_told_after_the_timeout(own_repository: Path) -> None:
    with TritonServer(own_repository, [NAME], ports=Ports.free()) as server:
        models = server.models()
        with paused(server.pid), pytest.raises(SmokeError, match=r"cannot be opened: .*within 1 s"):
            smoke(server.url, models, print, timeout_s=1)
