"""Which server is run, and with what."""

from pathlib import Path

import pytest

from tritone_client import Codec
from tritone_server import binaries as server_files
from tritone_server import launcher as tritonserver
from tritone_server.binaries import find_server
from tritone_server.launcher import Ports, TritonServer
from tritone_server.wheels import Wheel, WheelError


def test_nvidias_container_is_preferred_where_we_are_inside_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    container = tmp_path / "opt"
    (container / "backends" / "onnxruntime").mkdir(parents=True)
    (container / "bin").mkdir()
    (container / "bin" / "tritonserver").touch(mode=0o755)
    monkeypatch.setattr(server_files, "_CONTAINER", container)
    assert find_server() == (container / "bin" / "tritonserver", container / "backends", {})
    assert (container / "backends" / "tritone" / "model.py").exists(), "our backend stands beside its own"
    (container / "backends" / "onnxruntime").rmdir()
    assert find_server()[1] != container / "backends", "without ONNX Runtime it cannot serve our models"


def test_it_listens_on_loopback_and_loads_only_what_was_asked(repository: Path) -> None:
    command, _ = TritonServer(repository, ["small_lfsc"], ports=Ports(1, 2, 3)).command()
    assert {"--http-address=127.0.0.1", "--grpc-address=127.0.0.1", "--metrics-address=127.0.0.1"} <= set(
        command
    )
    assert {"--http-port=1", "--grpc-port=2", "--metrics-port=3"} <= set(command)
    (folder,) = [flag.partition("=")[2] for flag in command if flag.startswith("--model-repository=")]
    roles = ("decode", "dequantize", "encode", "vocoder")
    assert sorted(each.name for each in Path(folder).iterdir()) == [f"small_lfsc_{role}" for role in roles]
    assert "--model-control-mode=none" in command


def test_a_start_that_triton_gives_up_on_a_busy_machine_is_tried_again(
    repository: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first start ends with Triton's words for a model's process that got no core for a second."""
    executable, backends, environment = find_server()
    starved = tmp_path / "tritonserver"
    words = "Stub process 'small_nanocodec_decode_stream_0_0' is not healthy."
    starved.write_text(
        f'#!/bin/sh\nmkdir {tmp_path}/tried && echo "{words}" && exit 1\nexec {executable} "$@"\n'
    )
    starved.chmod(0o755)
    monkeypatch.setattr(tritonserver, "find_server", lambda: (starved, backends, environment))
    server = TritonServer(repository, ["small_nanocodec"], ports=Ports.free())
    with server, Codec("small_nanocodec", server.url) as codec:
        assert codec.info.num_codebooks == 4
    assert caplog.text.count("starting the server again") == 1


def test_a_wheel_with_another_hash_is_not_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tritone_server.wheels.CACHE", tmp_path)
    with pytest.raises(WheelError, match="expected 0000"):
        Wheel("einops==0.8.2", "0" * 64, ("einops/",)).unpacked(log=False)
    with pytest.raises(WheelError, match=r"pip could not download einops==0\.0\.0"):
        Wheel("einops==0.0.0", "0" * 64, ("einops/",)).unpacked(log=False)
    assert not list((tmp_path / "wheels").iterdir())
