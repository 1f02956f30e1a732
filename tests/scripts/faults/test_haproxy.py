"""HAProxy in front of real servers: it spreads streams, and they fail over when a server dies."""

import asyncio
import os
import signal
from collections.abc import Iterator
from contextlib import ExitStack
from hashlib import sha256
from pathlib import Path

import grpc  # type: ignore[import-untyped]
import numpy as np
import pytest
from helpers.comparison import against_whole
from helpers.servers.raw import HANGS_S, comes_true, counted
from tritonclient.grpc import service_pb2_grpc

from scripts.common.certificates import write_certificates
from scripts.common.haproxy import Haproxy
from tritone_client import (
    AccessDeniedError,
    AsyncCodec,
    Codec,
    Resume,
    Resumption,
    ServerUnavailableError,
    Tls,
    served_codecs,
)
from tritone_client.transport.interface import Place, Request
from tritone_client.transport.wire import message_of
from tritone_server.direct import NO_PROXY, channel_to
from tritone_server.launcher import Ports, TritonServer

NAME, STREAMS = "small_nanocodec", 6

pytestmark = pytest.mark.needs("haproxy")


@pytest.fixture(scope="module")
def three(repository: Path) -> Iterator[list[TritonServer]]:
    with ExitStack() as stack:
        yield [
            stack.enter_context(TritonServer(repository, [NAME], ports=Ports.free(), grace_s=HANGS_S))
            for _ in range(3)
        ]


@pytest.fixture
def servers(three: list[TritonServer]) -> list[TritonServer]:
    """The servers, all running, even after a test that killed one."""
    for server in three:
        if not server.ready:
            server.stop()
            server.start()
    return three


@pytest.fixture
def proxy(servers: list[TritonServer]) -> Iterator[Haproxy]:
    with Haproxy(servers) as running:
        yield running


@pytest.fixture
def url(proxy: Haproxy) -> str:
    return proxy.url


def tokens_of(codec: Codec) -> "np.ndarray[tuple[int, int], np.dtype[np.int64]]":
    info = codec.info
    return np.random.default_rng(0).integers(0, info.codebook_size, (info.num_codebooks, 40))


def live_at(server: TritonServer) -> float:
    return counted(server, "streams_live", f"{NAME}_decode_stream")


def test_streams_are_spread_and_outlive_a_server(servers: list[TritonServer], url: str) -> None:
    resumptions: list[Resumption] = []
    with Codec(NAME, url, resume=Resume(HANGS_S, HANGS_S, on_resume=resumptions.append)) as codec:
        tokens = tokens_of(codec)
        whole = codec.decode(tokens)
        streams = [codec.decode_stream() for _ in range(STREAMS)]
        pieces = [[stream.push(tokens[:, :20])] for stream in streams]
        assert comes_true(lambda: [live_at(server) for server in servers] == [STREAMS // 3] * 3)
        os.killpg(servers[0].pid, signal.SIGKILL)
        for audio, stream in zip(pieces, streams, strict=True):
            audio.append(stream.push(tokens[:, 20:]))
            stream.close()
    assert len(resumptions) >= STREAMS // 3
    for audio in pieces:
        found = against_whole(codec, tokens, np.concatenate(audio), whole)
        assert found.ok, found


def test_a_server_that_drains_keeps_its_streams_and_gets_no_new_ones(
    servers: list[TritonServer], proxy: Haproxy
) -> None:
    with Codec(NAME, proxy.url) as codec:
        tokens = tokens_of(codec)
        streams = [codec.decode_stream() for _ in range(3)]
        for stream in streams:
            stream.push(tokens[:, :1])
        os.kill(servers[1].pid, signal.SIGTERM)
        assert comes_true(lambda: not proxy.sends_to(2))
        for _ in range(6):
            with codec.decode_stream() as fresh:
                fresh.push(tokens[:, :1])
        for stream in streams:
            stream.push(tokens[:, 1:2])
            stream.close()


def test_without_a_server_the_client_reports_it_at_once(servers: list[TritonServer], url: str) -> None:
    for server in servers:
        os.killpg(server.pid, signal.SIGKILL)
    with pytest.raises(ServerUnavailableError, match=r"^(?!.*within)"):
        Codec(NAME, url, timeout_s=HANGS_S)


def test_only_clients_with_a_key_are_admitted(server: TritonServer, tmp_path: Path) -> None:
    keys, folder = tmp_path / "keys", tmp_path / "certificates"
    keys.write_text("".join(sha256(key).hexdigest().upper() + "\n" for key in (b"right", b"another")))
    write_certificates(folder, days=2)
    both = folder / "both.pem"
    both.write_bytes((folder / "server.pem").read_bytes() + (folder / "server.key").read_bytes())
    tls = Tls(folder / "ca.pem")
    with Haproxy([server] * 3, {"TRITONE_API_KEYS": keys, "TRITONE_TLS": both}) as proxy:
        url = proxy.url
        for wrong in (None, "wrong", "RIGHT"):
            with pytest.raises(AccessDeniedError, match="give a right API key"):
                Codec(NAME, url, tls=tls, api_key=wrong, timeout_s=HANGS_S)
        assert NAME in served_codecs(url, tls=tls, api_key="another")
        with Codec(NAME, url, tls=tls, api_key="right") as codec:
            tokens = tokens_of(codec)
            whole = codec.decode([tokens, tokens])[1]
            with codec.decode_stream() as stream:
                found = against_whole(codec, tokens, stream.push(tokens), whole)
                assert found.ok, found

        async def streamed_and_whole() -> int:
            async with (
                AsyncCodec(NAME, url, tls=tls, api_key="right") as codec,
                codec.decode_stream() as stream,
            ):
                return len(await stream.push(tokens)) + len(await codec.decode(tokens))

        assert asyncio.run(streamed_and_whole()) == 2 * len(whole)


def test_the_proxy_may_be_restarted(proxy: Haproxy) -> None:
    resumptions: list[Resumption] = []
    with Codec(NAME, proxy.url, resume=Resume(deadline_s=HANGS_S, on_resume=resumptions.append)) as codec:
        tokens = tokens_of(codec)
        whole = codec.decode(tokens)
        with codec.decode_stream() as stream:
            pieces = [stream.push(tokens[:, :20])]
            proxy.stop()
            proxy.start()
            pieces.append(stream.push(tokens[:, 20:]))
    assert len(resumptions) == 1
    found = against_whole(codec, tokens, np.concatenate(pieces), whole)
    assert found.ok, found


def test_requests_that_end_a_server_or_fill_its_memory_do_not_reach_it(
    servers: list[TritonServer], url: str
) -> None:
    bad = message_of(
        Request(f"{NAME}_decode_stream", {"tokens": np.full((1, 4, 1), -1)}, "audio", Place(7, True, True))
    )
    compressed = grpc.insecure_channel(url, [NO_PROXY], compression=grpc.Compression.Gzip)
    with compressed as channel, pytest.raises(grpc.RpcError, match="http2 header with status: 400"):
        service_pb2_grpc.GRPCInferenceServiceStub(channel).ModelInfer(bad, timeout=HANGS_S)
    with channel_to(url) as channel:
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        for _ in range(50):  # about ten of them end a server that gets the header
            header = (("triton_grpc_error", "true"),)
            answers = list(stub.ModelStreamInfer(iter([bad] * 3), timeout=HANGS_S, metadata=header))
            assert ["must be in" in answer.error_message for answer in answers] == [True] * 3
    assert all(server.running for server in servers)
