"""Servers by IPv4, IPv6, name and socket, past proxies; and ports that do not speak gRPC as it is asked."""

import asyncio
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from helpers.paths import ROOT
from helpers.servers.processes import dry_run

from scripts.common import stream_metrics
from scripts.common.certificates import write_certificates
from scripts.faults.flaky_proxy import FlakyProxy
from tritone_client import (
    AsyncCodec,
    Codec,
    ServerSilentError,
    ServerUnavailableError,
    Tls,
    WrongProtocolError,
    served_codecs,
)
from tritone_client.transport.protocols import Protocol, explained, protocol_at
from tritone_server.direct import environment_without_proxies, proxies_named
from tritone_server.launcher import Ports, ServerError, ServerTls, Traces, TritonServer
from tritone_server.settings.listen_address import ListenAddress
from tritone_server.wheels import Wheel, WheelError

NAME = "small_nanocodec"
PROXY_VARIABLES = ("grpc_proxy", "https_proxy", "http_proxy", "HTTPS_PROXY", "HTTP_PROXY", "all_proxy")


def has_ipv6() -> bool:
    try:
        ListenAddress.at("::1")
    except ServerError:
        return False
    return True


needs_ipv6 = pytest.mark.skipif(not has_ipv6(), reason="no IPv6 on this machine")


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("certificates")
    write_certificates(folder)
    return folder


@pytest.fixture(scope="module")
def encrypted(repository: Path, certificates: Path) -> Iterator[TritonServer]:
    """Whose clients need certificates."""
    files = [certificates / name for name in ("server.pem", "server.key", "ca.pem")]
    with TritonServer(repository, [NAME], ports=Ports.free(), tls=ServerTls(*files)) as server:
        yield server


@pytest.fixture
def dead_proxy(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """In the environment, for every protocol; nobody listens there."""
    for name in ("no_proxy", "NO_PROXY", "no_grpc_proxy"):
        monkeypatch.delenv(name, raising=False)
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        proxy = f"http://127.0.0.1:{closed.getsockname()[1]}"
        for name in PROXY_VARIABLES:
            monkeypatch.setenv(name, proxy)
        yield proxy


def decoded(url: str) -> int:
    """Samples of a whole, a stream and both in asyncio, which must be as many."""
    tokens = np.ones((4, 3), np.int64)
    with Codec(NAME, url) as codec, codec.decode_stream() as stream:
        samples = len(codec.decode(tokens))
        assert len(stream.push(tokens)) == samples

    async def again() -> int:
        async with AsyncCodec(NAME, url) as codec, codec.decode_stream() as stream:
            return len(await stream.push(tokens)) + len(await codec.decode(tokens))

    assert asyncio.run(again()) == 2 * samples
    return samples


@pytest.mark.usefixtures("dead_proxy")
def test_a_server_of_this_machine_is_never_asked_through_a_proxy(server: TritonServer) -> None:
    assert server.ready
    assert decoded(server.url)
    assert NAME in served_codecs(server.url)
    assert "nv_inference_count" in stream_metrics.page(server.metrics_url)


@pytest.mark.usefixtures("dead_proxy")
def test_the_launcher_serves_and_tries_models_whatever_proxy_the_environment_names(repository: Path) -> None:
    ports = [f"--{name}-port={port}" for name, port in vars(Ports.free()).items()]
    command = [sys.executable, "-m", "tritone_server.cli", NAME, "--repository", str(repository), *ports]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        said = ""
        while not said.startswith("log: "):
            said = process.stdout.readline()
            assert said, "it ended instead of serving"
        process.terminate()
        assert process.wait() == 0


@pytest.mark.usefixtures("dead_proxy")
def test_programs_that_ask_our_servers_are_told_of_no_proxy() -> None:
    assert not [name for name in environment_without_proxies() if name.lower().endswith("_proxy")]
    assert environment_without_proxies()["PATH"] == os.environ["PATH"]


@pytest.mark.usefixtures("dead_proxy")
def test_traces_go_past_the_proxy_to_a_collector_on_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "example.invalid")
    assert Traces("http://127.0.0.1:4318/v1/traces").environment() == {
        "no_proxy": "example.invalid,127.0.0.1"
    }
    assert Traces("http://collector.invalid:4318/v1/traces").environment() == {}


def test_a_download_that_fails_names_the_proxies(
    dead_proxy: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert f"https through {dead_proxy}" in proxies_named()
    monkeypatch.setenv("https_proxy", "http://user:secret@proxy.invalid:3128")
    assert "https through http://proxy.invalid:3128" in proxies_named()
    monkeypatch.setattr("tritone_server.wheels.CACHE", tmp_path)
    with pytest.raises(
        WheelError, match=r"download einops==0\.0\.0 \(with the environment's proxies: .*proxy\.inv"
    ):
        Wheel("einops==0.0.0", "0" * 64, ("einops/",)).unpacked(log=False)


@needs_ipv6
@pytest.mark.parametrize("host", ["::1", "::"])
def test_all_three_ports_serve_ipv6(host: str, repository: Path) -> None:
    with TritonServer(repository, [NAME], host, Ports.free()) as server:
        assert server.url == f"[::1]:{server.ports.grpc}"
        assert decoded(server.url)
        assert decoded(f"dns:///{server.url}") == decoded(f"ipv6:{server.url}")
        assert "nv_inference_count" in stream_metrics.page(server.metrics_url)
        if host == "::":
            assert decoded(f"127.0.0.1:{server.ports.grpc}"), "gRPC serves IPv4, too"
        with pytest.raises(ServerError, match=rf"http port {server.ports.http} on {host} cannot be used"):
            server.ports.refuse_taken(ListenAddress.at(host))


def test_a_name_is_served_at_its_address(repository: Path) -> None:
    with TritonServer(repository, [NAME], "localhost", Ports.free()) as server:
        assert decoded(f"dns:///localhost:{server.ports.grpc}") == decoded(server.url)


def test_a_socket_in_the_file_system_serves_like_a_port(server: TritonServer, tmp_path: Path) -> None:
    with FlakyProxy(server.url, tmp_path / "socket") as relay:
        assert relay.url == f"unix:{tmp_path}/socket"
        assert decoded(relay.url)


@needs_ipv6
@pytest.mark.parametrize(
    ("host", "status", "said"),
    [
        ("::1", 0, "--http-address=ipv6:::1 "),
        ("::1", 0, "'--grpc-address=[::1]' "),
        ("localhost", 0, "--http-address=127.0.0.1 "),
        ("2001:db8::1", 1, "--host 2001:db8::1 is not an address of this machine: "),
        ("192.0.2.1", 1, "--host 192.0.2.1 is not an address of this machine: "),
        ("fe80::1", 1, "is a link-local address, which Triton cannot listen on; use --host ::"),
        ("::", 1, "other machines can reach ::, and the connection would not be encrypted"),
    ],
)
def test_the_launcher_takes_every_address_of_this_machine(
    host: str, status: int, said: str, repository: Path
) -> None:
    done = dry_run(NAME, repository, "--host", host)
    assert done.returncode == status
    assert said in done.stdout + done.stderr


def failure(url: str, tls: Tls | None = None) -> str:
    """Of all ways to open a codec, which must say the same."""
    with pytest.raises(ServerUnavailableError) as caught:
        Codec(NAME, url, tls=tls)
    with pytest.raises(type(caught.value)) as listed:
        served_codecs(url, tls=tls)

    async def opened() -> None:
        async with AsyncCodec(NAME, url, tls=tls):
            pass

    with pytest.raises(type(caught.value)) as awaited:
        asyncio.run(opened())
    told = str(caught.value)
    assert told == str(listed.value) == str(awaited.value)
    assert isinstance(caught.value, WrongProtocolError) == ("does not answer" not in told)
    return told


@pytest.mark.parametrize("port", ["http", "metrics"])
def test_a_port_that_speaks_http_is_told_with_where_grpc_is(
    port: str, server: TritonServer, encrypted: TritonServer, certificates: Path
) -> None:
    for each in (server, encrypted):
        url = f"127.0.0.1:{getattr(each.ports, port)}"
        said = f"{url} speaks HTTP, and inference is gRPC only: give its gRPC port, which is 8001 unless"
        assert failure(url).startswith(said)
        assert failure(url, Tls(certificates / "ca.pem")).startswith(said)


def test_a_port_that_expects_tls_is_told_to_who_asks_in_the_clear(encrypted: TritonServer) -> None:
    assert failure(encrypted.url) == (
        f"{encrypted.url} expects TLS and was asked in the clear: give tls=Tls(...), or --tls to the command"
    )


def test_a_port_in_the_clear_is_told_to_who_asks_with_tls(server: TritonServer, certificates: Path) -> None:
    said = failure(server.url, Tls(certificates / "ca.pem"))
    assert said.startswith(f"{server.url} speaks gRPC in the clear and was asked with TLS: leave out tls")


def test_a_server_that_refuses_a_client_without_certificate_says_nothing_of_protocols(
    encrypted: TritonServer, certificates: Path
) -> None:
    assert "does not answer" in failure(encrypted.url, Tls(certificates / "ca.pem"))


def test_the_usual_port_of_grpc_is_named_beside_the_usual_ports_of_http() -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tritone_client.transport.protocols.protocol_at", lambda *_: Protocol.HTTP)
        for port in (8000, 8002):
            told = str(explained(ServerUnavailableError("broken"), f"[::1]:{port}", encrypted=False))
            assert told.endswith("give its gRPC port, which is 8001 unless chosen otherwise ([::1]:8001)")


@pytest.mark.parametrize(
    ("answers", "protocol"),
    [
        ([b"HTTP/1.1 403 Forbidden\r\n\r\n"] * 2, Protocol.HTTP),
        ([b"\x00\x00\x00\x04\x00\x00\x00\x00\x00"] * 2, Protocol.GRPC),
        ([b"\x15\x03\x03\x00\x02\x02\x28"], Protocol.TLS),  # a handshake that is refused
        ([b"SSH-2.0-OpenSSH_9.2\r\n"] * 2, None),
        ([b""] * 2, None),
    ],
    ids=["http", "grpc", "tls", "ssh", "closed"],
)
def test_the_first_answer_of_a_port_tells_its_protocol(
    answers: list[bytes], protocol: Protocol | None
) -> None:
    def answer(listener: socket.socket) -> None:
        for text in answers:
            peer, _ = listener.accept()
            with peer:
                peer.recv(4096)
                peer.sendall(text)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=answer, args=(listener,))
        thread.start()
        assert protocol_at("127.0.0.1", listener.getsockname()[1]) is protocol
        thread.join()


def test_a_server_that_stays_silent_is_not_asked_again_what_it_speaks() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        with pytest.raises(ServerSilentError, match=r"no answer from .* within 1 s"):
            Codec(NAME, f"127.0.0.1:{silent.getsockname()[1]}", timeout_s=1)
        silent.setblocking(False)
        asked = 0
        with suppress(BlockingIOError):
            while True:
                silent.accept()[0].close()
                asked += 1
    assert asked <= 1, "by gRPC itself"


def test_nothing_is_spoken_where_nobody_listens() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        assert protocol_at("127.0.0.1", closed.getsockname()[1]) is None
