"""Failover: streams continue at another server, sample for sample, when theirs is killed, full or gone."""

import asyncio
import os
import signal
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest
from helpers.comparison import against_whole
from helpers.servers.raw import HANGS_S, silenced
from helpers.signals import sound
from numpy.typing import NDArray

from scripts.faults.flaky_proxy import FlakyProxy
from tritone_client import (
    AsyncCodec,
    Codec,
    NoServerLeftError,
    Resume,
    Resumption,
    ServerFullError,
    ServerUnavailableError,
)
from tritone_server.launcher import Ports, TritonServer, serving

LATE = ("small_snac_24khz", "small_dac_24khz")
"""Codecs that look ahead, whose streams are late."""
STREAMING = ("small_nanocodec", "small_mimi", "small_moss", "small_moss_nano", *LATE)
FRAMES = 60


def killed(server: TritonServer) -> None:
    os.killpg(server.pid, signal.SIGKILL)


@pytest.fixture
def ways(server: TritonServer) -> Iterator[list[FlakyProxy]]:
    """Two relays to the server of the tests; each can be cut."""
    with FlakyProxy(server.url) as first, FlakyProxy(server.url) as second:
        yield [first, second]


def urls(servers: Sequence[TritonServer | FlakyProxy]) -> list[str]:
    return [server.url for server in servers]


def tokens_of(codec: Codec) -> NDArray[np.int64]:
    return codec.encode(sound(codec.info, FRAMES), codec.info.encode_sample_rate_hz)


def test_streams_of_every_codec_outlive_the_server_that_is_killed(repository: Path) -> None:
    resumptions: dict[str, list[Resumption]] = {name: [] for name in STREAMING}
    with (
        serving(repository, STREAMING) as first,
        serving(repository, STREAMING) as second,
        ExitStack() as stack,
    ):
        streams = []
        for name in STREAMING:
            resume = Resume(HANGS_S, HANGS_S, on_resume=resumptions[name].append)
            codec = stack.enter_context(Codec(name, [first.url, second.url], resume=resume))
            tokens = tokens_of(codec)
            # Streams begin in turn: of two, one is at the server that dies.
            for _ in range(2):
                stream = stack.enter_context(codec.decode_stream())
                received = [stream.push(tokens[:, :30])]
                streams.append((codec, tokens, codec.decode(tokens), stream, received))
        killed(first)
        for _, tokens, _, stream, received in streams:
            received += [stream.push(frame) for frame in tokens.T[30:]]
            received.append(stream.close())
        for codec, tokens, whole, _, received in streams:
            found = against_whole(codec, tokens, np.concatenate(received, axis=-1), whole)
            assert found.ok, found
    # More than one failover per stream if a busy machine let a stream idle for too long.
    for each_codec in resumptions.values():
        moved = next(
            each for each in each_codec if each.from_endpoint == first.url and each.to_endpoint == second.url
        )
        assert moved.from_stream != moved.to_stream
        assert 0 < moved.replayed_frames <= 30


@pytest.mark.parametrize("name", ["small_mimi", "small_moss_nano", *LATE])
def test_encoding_goes_on_too_and_without_blocking_others(name: str, ways: list[FlakyProxy]) -> None:
    async def streams() -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        async with AsyncCodec(name, urls(ways)) as codec:
            hop, rate_hz = codec.info.samples_per_frame, codec.info.sample_rate_hz
            noise = sound(codec.info, FRAMES)
            whole = await codec.encode(noise, rate_hz)
            streams = [codec.encode_stream(rate_hz) for _ in ways]
            found: list[list[NDArray[np.int64]]] = [[] for _ in streams]
            for number in range(FRAMES):
                if number == FRAMES // 2:
                    ways[0].reset()
                piece = noise[..., number * hop : (number + 1) * hop]
                made = await asyncio.gather(*(stream.push(piece) for stream in streams))
                for tokens, one in zip(found, made, strict=True):
                    tokens.append(one)
            for tokens, stream in zip(found, streams, strict=True):
                tokens.append(await stream.close())
            assert all(np.array_equal(whole, np.concatenate(tokens, axis=1)) for tokens in found)
            return whole, np.concatenate(found[0], axis=1)

    whole, streamed = asyncio.run(streams())
    assert whole.shape == streamed.shape


def test_an_idle_stream_that_was_ended_goes_on(server: TritonServer) -> None:
    resumptions: list[Resumption] = []
    with Codec(
        "small_nanocodec", server.url, resume=Resume(HANGS_S, HANGS_S, on_resume=resumptions.append)
    ) as codec:
        tokens, whole = tokens_of(codec), codec.decode(tokens_of(codec))
        with codec.decode_stream() as stream:
            first = stream.push(tokens[:, :20])
            assert silenced(server, "small_nanocodec_decode_stream")
            rest = stream.push(tokens[:, 20:])
    found = against_whole(codec, tokens, np.concatenate([first, rest]), whole)
    assert found.ok, found
    assert [each.from_endpoint for each in resumptions] == [server.url]


def test_a_full_server_is_passed_by_and_all_full_is_an_error_at_once(repository: Path) -> None:
    name = "small_nanocodec"
    with (
        serving(repository, [name], max_streams=1) as first,
        serving(repository, [name], max_streams=1) as second,
        Codec(name, [first.url, second.url]) as codec,
    ):
        frame = tokens_of(codec)[:, :1]
        with codec.decode_stream() as one, codec.decode_stream() as two:
            one.push(frame)
            two.push(frame)
            with codec.decode_stream() as three, pytest.raises(ServerFullError):
                three.push(frame)
            one.push(frame)
            two.push(frame)


def test_servers_that_come_back_are_found_and_absent_ones_end_in_one_error(repository: Path) -> None:
    name, ports = "small_nanocodec", Ports.free()
    with TritonServer(repository, [name], ports=ports) as server, Codec(name, server.url) as plain:
        tokens = tokens_of(plain)
        whole = plain.decode(tokens)
        codec = Codec(name, server.url, resume=Resume(HANGS_S, HANGS_S))
        stream = codec.decode_stream()
        received = [stream.push(tokens[:, :30])]
        killed(server)
    with TritonServer(repository, [name], ports=ports) as server:
        received.append(stream.push(tokens[:, 30:]))
        stream.close()
        found = against_whole(codec, tokens, np.concatenate(received), whole)
        assert found.ok, found
    codec.close()

    with TritonServer(repository, [name], ports=ports) as server:
        codec = Codec(name, server.url, resume=Resume(deadline_s=1.5))
        stream = codec.decode_stream()
        stream.push(tokens[:, :3])
        killed(server)
        with pytest.raises(NoServerLeftError, match=r"none of the servers .* within 1.5 s"):
            stream.push(tokens[:, 3:4])
        codec.close()


def test_a_bounded_replay_is_shorter_and_nearly_the_same(ways: list[FlakyProxy]) -> None:
    resumptions: list[Resumption] = []
    resume = Resume(HANGS_S, HANGS_S, most_replay_s=1.0, on_resume=resumptions.append)
    with Codec("small_mimi", urls(ways), resume=resume) as codec:
        tokens, whole = tokens_of(codec), codec.decode(tokens_of(codec))
        with codec.decode_stream() as stream, codec.decode_stream() as other:
            received = [stream.push(tokens[:, :50]), other.push(tokens[:, :50])]
            ways[0].reset()
            received = [received[0], stream.push(tokens[:, 50:]), other.push(tokens[:, 50:])]
    assert [each.replayed_frames < 50 for each in resumptions] == [True]
    assert received[0].shape[0] + received[1].shape[0] == len(whole)


def test_a_first_server_that_is_down_is_no_matter(server: TritonServer) -> None:
    with Codec("small_nanocodec", ["127.0.0.1:9", server.url]) as codec:
        tokens = tokens_of(codec)
        with codec.decode_stream() as one, codec.decode_stream() as other:
            assert len(one.push(tokens)) == len(other.push(tokens)) == len(codec.decode(tokens))
    with pytest.raises(ServerUnavailableError):
        Codec("small_nanocodec", ["127.0.0.1:9", "127.0.0.1:11"])
    with pytest.raises(ValueError, match="no server"):
        Codec("small_nanocodec", [])
