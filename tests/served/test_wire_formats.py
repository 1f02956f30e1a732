"""Audio as INT16 on the wire, and prefixes of streams whose server is cut off."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import tritonclient.grpc as triton
from helpers.comparison import against_whole
from helpers.servers.raw import HANGS_S, comes_true, counted, inputs_of
from helpers.signals import tokens_of
from numpy.typing import NDArray

from scripts.faults.flaky_proxy import FlakyProxy
from tritone_client import Codec, Resume, Resumption
from tritone_client.formats.samples import int16_of
from tritone_client.transport import grpc_connection, grpc_transport, wire
from tritone_server.direct import NO_PROXY
from tritone_server.launcher import TritonServer

NAME, STEREO = "small_nanocodec", "small_moss_nano"


@pytest.fixture
def received(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """Bytes of each output that came over gRPC, without nonces."""
    found: dict[str, int] = {}

    def noted(response: Any, message: Any) -> NDArray[Any]:
        for output, raw in zip(response.outputs, response.raw_output_contents, strict=True):
            if output.name != "nonce":
                found[output.name] = found.get(output.name, 0) + len(raw)
        return wire.tensor_of(response, message)

    monkeypatch.setattr(grpc_connection, "tensor_of", noted)
    monkeypatch.setattr(grpc_transport, "tensor_of", noted)
    return found


@pytest.mark.parametrize("name", [NAME, STEREO])
def test_only_what_is_asked_for_travels_and_int16_is_half_of_it(
    name: str, server: TritonServer, received: dict[str, int]
) -> None:
    with Codec(name, server.url) as codec:
        tokens = tokens_of(codec.info, 20)
        samples = int(np.prod(codec.info.audio_shape(20 * codec.info.samples_per_frame)))
        for ask in (
            lambda dtype: codec.decode(tokens, dtype=dtype),
            lambda dtype: list(codec.stream(tokens.T, dtype=dtype)),
        ):
            for dtype, output, size in (
                ("float32", "audio", 4),
                ("int16", "audio_int16", 2),
                ("mulaw", "audio_int16", 2),
            ):
                received.clear()
                ask(dtype)
                assert received == {output: size * samples}
        received.clear()
        codec.decode(tokens, 8000, dtype="int16")
        assert received == {"audio": 4 * samples}, "converted here, after the rate"


def test_other_clients_name_the_outputs_they_want(server: TritonServer) -> None:
    client = triton.InferenceServerClient(server.url, channel_args=[NO_PROXY])
    with Codec(NAME, server.url) as codec:
        tokens = tokens_of(codec.info, 5)[None]
    given = {"tokens": tokens, "tokens_len": np.array([[5]])}

    def answer(names: list[str]) -> Any:
        wanted = [triton.InferRequestedOutput(name) for name in names]
        return client.infer(f"{NAME}_decode", inputs_of(given), outputs=wanted, client_timeout=HANGS_S)

    both = answer(["audio", "audio_int16", "audio_len"])
    assert np.array_equal(both.as_numpy("audio_int16"), int16_of(both.as_numpy("audio")))
    one = answer(["audio_int16"])
    assert [output.name for output in one.get_response().outputs] == ["audio_int16"]
    assert np.array_equal(one.as_numpy("audio_int16"), both.as_numpy("audio_int16"))


def test_the_server_counts_what_it_clips(server: TritonServer) -> None:
    model = f"{NAME}_decode_stream"
    before = counted(server, "stream_clipped_total", model)
    clipped = 0
    with Codec(NAME, server.url) as codec:
        for seed in range(3):
            with codec.decode_stream(dtype="int16") as stream:
                stream.push(tokens_of(codec.info, 60, seed))
                clipped += stream.clipped
    assert comes_true(lambda: counted(server, "stream_clipped_total", model) == before + clipped)


def test_models_without_int16_send_fp32_which_is_converted_here(
    server: TritonServer, received: dict[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    with Codec(NAME, server.url) as codec:
        tokens = tokens_of(codec.info, 20)
        expected = codec.decode(tokens, dtype="int16")
    parameters = grpc_transport.Transport.parameters

    def of_old_models(transport: Any, model: str) -> dict[str, str]:
        return {key: each for key, each in parameters(transport, model).items() if key != "int16_output"}

    monkeypatch.setattr(grpc_transport.Transport, "parameters", of_old_models)
    with Codec(NAME, server.url) as codec:
        received.clear()
        assert np.array_equal(codec.decode(tokens, dtype="int16"), expected)
        with codec.decode_stream(dtype="int16") as stream:
            assert stream.push(tokens).dtype == np.int16
        assert received == {"audio": 2 * 4 * len(expected)}


@pytest.fixture
def ways(server: TritonServer) -> Iterator[list[FlakyProxy]]:
    with FlakyProxy(server.url) as first, FlakyProxy(server.url) as second:
        yield [first, second]


@pytest.mark.parametrize(
    "name", [NAME, "small_mimi", STEREO, "small_snac_24khz", "small_dac_24khz", "small_lfsc"]
)
@pytest.mark.parametrize("dtype", ["float32", "int16"])
def test_a_prefix_is_replayed_where_a_stream_goes_on(name: str, dtype: str, ways: list[FlakyProxy]) -> None:
    moved: list[Resumption] = []
    resume = Resume(HANGS_S, HANGS_S, on_resume=moved.append)
    with Codec(name, [way.url for way in ways], resume=resume) as codec:
        tokens, hop = tokens_of(codec.info, 40), codec.info.samples_per_frame
        whole = codec.decode(tokens)
        with codec.decode_stream(prefix=tokens[:, :20], dtype=dtype) as stream:
            heard = [stream.push(tokens[:, 20:22])]
            for way in ways:
                way.reset()
            heard += [stream.push(frame) for frame in tokens[:, 22:].T]
            heard.append(stream.close())
        live = codec.stream_info is not None
    joined = np.concatenate(heard, axis=-1)
    if dtype == "int16":
        expected = int16_of(whole[..., 20 * hop : 40 * hop - codec.info.short_samples])
        assert joined.shape == expected.shape
        assert np.abs(joined.astype(int) - expected).max() <= 1
    else:
        found = against_whole(codec, tokens, np.concatenate([whole[..., : 20 * hop], joined], axis=-1), whole)
        assert found.ok, found
    assert all(each.replayed_frames <= 22 for each in moved)
    assert moved or not live, "windows need no replay"


def test_a_past_of_more_than_ten_seconds_is_replayed_in_steps_that_servers_take(
    ways: list[FlakyProxy],
) -> None:
    moved: list[Resumption] = []
    resume = Resume(HANGS_S, HANGS_S, on_resume=moved.append)
    with Codec(NAME, [way.url for way in ways], resume=resume) as codec:
        limits, rate_hz = codec.stream_info, codec.info.frame_rate_hz
        assert limits is not None
        assert codec._models is not None
        codec._models._stream_infos["decode"] = replace(limits, replay_frames=10**6)  # sees minutes
        tokens = tokens_of(codec.info, int(12 * rate_hz))
        with codec.decode_stream() as stream:
            heard = [stream.push(tokens[:, :-9])]
            for way in ways:
                way.reset()
            heard.append(stream.push(tokens[:, -9:]))
        found = against_whole(codec, tokens, np.concatenate(heard))
    assert found.ok, found
    assert [each.replayed_frames for each in moved][:1] == [tokens.shape[1] - 9]
