"""The repository for NVIDIA's container behind the real server and client, TensorRT itself stood in for.

Its configs are as they are written but for the GPU; its graphs are those that engines are compiled from.
"""

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
from google.protobuf import text_format
from helpers.engine_graphs import EngineGraphs
from helpers.paths import ROOT
from helpers.servers.raw import RawStreams
from tritonclient.grpc import model_config_pb2 as pb

from tritone_build.codecs.base import Codec as BuiltCodec
from tritone_build.graphs.roles import roles
from tritone_build.repository.manifests import write_manifest
from tritone_build.repository.writing import configs_of, describe
from tritone_client import Codec, ServerRefusedError
from tritone_client.transport.grpc_transport import Transport
from tritone_runtime.fidelity import snr_db
from tritone_server import launcher as tritonserver
from tritone_server.binaries import find_server
from tritone_server.launcher import Ports, TritonServer

NAMES = ("small_nanocodec", "small_mimi", "small_lfsc")
HALF_DB = 45


def without_gpu(config: pb.ModelConfig) -> str:
    for group in config.instance_group:
        group.kind = pb.ModelInstanceGroup.KIND_CPU
        group.ClearField("profile")
    return str(text_format.MessageToString(config))


@pytest.fixture(scope="module")
def engines(
    codecs: dict[str, BuiltCodec],
    engine_graphs: EngineGraphs,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[TritonServer]:
    folder = tmp_path_factory.mktemp("engines")
    for name in NAMES:
        parts = roles(codecs[name], "tensorrt")
        for role, config in configs_of(codecs[name], parts, "tensorrt").items():
            (folder / config.name / "1").mkdir(parents=True)
            (folder / config.name / "config.pbtxt").write_text(without_gpu(config))
            if role != "decode":
                onnx.save(engine_graphs.of(name)[role], folder / config.name / "1" / "model.onnx")
    with pytest.MonkeyPatch.context() as patch:
        stand_in(patch, tmp_path_factory.mktemp("with_tensorrt"))
        with TritonServer(folder, NAMES, ports=Ports.free()) as server:
            yield server


def stand_in(patch: pytest.MonkeyPatch, folder: Path) -> None:
    """A server with one backend more; engines that are none are not refused."""
    executable, backends, environment = find_server()
    backends = shutil.copytree(backends, folder / "backends")
    for native in ("onnxruntime", "tensorrt"):
        shutil.copytree(backends / "tritone", backends / native)
    shutil.copy(ROOT / "tests/helpers/servers/tensorrt_stand_in.py", backends / "tensorrt" / "model.py")
    patch.setattr(tritonserver, "find_server", lambda: (executable, backends, environment))
    patch.setattr(tritonserver, "check_fit", lambda *_: None)


def test_the_server_gets_a_pool_for_the_streams_of_all_its_engines(
    engines: TritonServer, codecs: dict[str, BuiltCodec], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tritonserver, "check_fit", lambda *_: None)
    folder, state = shutil.copytree(engines.repository, tmp_path / "engines"), 0
    for name in NAMES:
        parts = roles(codecs[name], "tensorrt")
        configs = configs_of(codecs[name], parts, "tensorrt")
        for config in configs.values():
            write_manifest(folder / config.name / "1", {"codec": name})
        describe(configs, folder)
        state += sum(1024 * role.packing.state_bytes for role in parts if role.packing is not None)
    command, _ = TritonServer(folder, NAMES, ports=Ports.free()).command()
    assert f"--cuda-memory-pool-byte-size=0:{2 * state + (64 << 20)}" in command


@pytest.mark.parametrize("name", NAMES)
def test_rows_of_different_lengths_decode_as_in_fp32(
    name: str, engines: TritonServer, server: TritonServer
) -> None:
    with Codec(name, server.url) as exact, Codec(name, engines.url) as half:
        draw, info = np.random.default_rng(0), half.info
        rows = [
            draw.integers(0, info.codebook_size, (info.default_codebooks, frames)) for frames in (13, 37, 90)
        ]
        for theirs, ours, row in zip(exact.decode(rows), half.decode(rows), rows, strict=True):
            assert ours.shape == (row.shape[1] * info.samples_per_frame,)
            assert HALF_DB < snr_db(theirs, ours) < 120


@pytest.mark.parametrize("name", NAMES)
def test_an_encoder_gives_all_codebooks_and_the_client_keeps_those_asked_for(
    name: str, engines: TritonServer, server: TritonServer
) -> None:
    with Codec(name, server.url) as exact, Codec(name, engines.url) as half:
        info = half.info
        audio = 0.1 * np.random.default_rng(0).standard_normal(60 * info.samples_per_frame - 5)
        for books in {info.default_codebooks, info.min_codebooks, info.num_codebooks}:
            theirs, ours = (each.encode(audio, info.encode_sample_rate_hz, books) for each in (exact, half))
            assert ours.shape == theirs.shape == (books, 60)
            assert np.mean(ours[0] == theirs[0]) > 0.95


@pytest.mark.parametrize("name", ["small_nanocodec", "small_mimi"])
def test_a_stream_equals_the_whole_and_goes_in_steps_that_a_profile_holds(
    name: str, engines: TritonServer
) -> None:
    with Codec(name, engines.url) as codec:
        info = codec.info
        tokens = np.random.default_rng(1).integers(0, info.codebook_size, (info.default_codebooks, 40))
        whole = codec.decode(tokens)
        with codec.decode_stream() as stream:
            pieces = [stream.push(piece) for piece in np.split(tokens, [1, 2, 25], axis=1)]
            pieces.append(stream.close())
        assert snr_db(whole, np.concatenate(pieces)) > HALF_DB
        assert codec.stream_info is not None
        assert codec.stream_info.max_step_frames == 8


def test_an_encoding_stream_equals_the_whole(engines: TritonServer) -> None:
    with Codec("small_mimi", engines.url) as codec:
        info = codec.info
        audio = 0.1 * np.random.default_rng(2).standard_normal(30 * info.samples_per_frame - 7)
        whole = codec.encode(audio, info.encode_sample_rate_hz, 4)
        with codec.encode_stream(info.encode_sample_rate_hz, 4) as stream:
            made = np.concatenate(
                [stream.push(audio[:500]), stream.push(audio[500:]), stream.close()], axis=1
            )
        assert made.shape == whole.shape
        assert np.mean(made == whole) > 0.9


def test_bad_tokens_are_refused_whole_and_silence_no_other_stream(engines: TritonServer) -> None:
    good = np.zeros((4, 3), np.int64)
    sent = {"tokens": good[None] + 10**9, "tokens_len": np.array([[3]])}
    with pytest.raises(ServerRefusedError, match="tokens must be in 0"):
        list(Transport(engines.url, 30).results([("small_nanocodec_decode", sent)], "audio"))
    streams = RawStreams(engines, "small_nanocodec_decode_stream")
    alone = streams.step(1, good, start=True)
    assert np.isnan(streams.step(2, good + 10**9, start=True)).all()
    assert np.isfinite(streams.step(1, good)).all()
    assert np.array_equal(streams.step(3, good, start=True), alone)
