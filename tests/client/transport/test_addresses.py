"""Addresses: every form that gRPC takes works, others are refused with a reason, and servers on this machine
are reached without a proxy."""

import socket
from pathlib import Path

import pytest

from tritone_client import AddressError, Codec, ServerUnavailableError, served_codecs
from tritone_client.transport.access import Access
from tritone_client.transport.addresses import Address, server_at
from tritone_client.transport.interface import StatusError
from tritone_client.transport.statuses import typed

PROXY = "http://user:secret@proxy.invalid:3128"


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("grpc_proxy", "https_proxy", "http_proxy", "no_grpc_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    ("url", "host", "port"),
    [
        ("127.0.0.1:8001", "127.0.0.1", 8001),
        ("speech.example:443", "speech.example", 443),
        ("[::1]:8001", "::1", 8001),
        ("dns:speech.example:8001", "speech.example", 8001),
        ("dns:///speech.example:8001", "speech.example", 8001),
        ("dns://10.0.0.1/speech.example:8001", "speech.example", 8001),
        ("dns:///[2001:db8::1]:8001", "2001:db8::1", 8001),
        ("ipv4:10.0.0.1:8001", "10.0.0.1", 8001),
        ("ipv6:[::1]:8001", "::1", 8001),
        ("unix:/run/tritone", None, None),
        ("unix:///run/tritone", None, None),
        ("unix-abstract:tritone", None, None),
    ],
)
def test_every_form_of_an_address_is_understood(url: str, host: str | None, port: int | None) -> None:
    assert Address.of(url) == Address(url, host, port)


@pytest.mark.parametrize(
    ("url", "message"),
    [
        (
            "http://speech.example:8000",
            "takes no http://; give host and gRPC port, as in speech.example:8001",
        ),
        (
            "https://speech.example/v2",
            "takes no https://; give host and gRPC port, as in speech.example:8001",
        ),
        ("grpc://[::1]:8001", r"takes no grpc://; give host and gRPC port, as in \[::1\]:8001"),
        ("::1", r"an IPv6 address stands in brackets, as in \[::1\]:8001"),
        ("::1:9001", r"an IPv6 address stands in brackets, as in \[::1\]:9001"),
        ("speech.example", "the port is missing; gRPC of Triton listens on speech.example:8001"),
        ("dns:///speech.example", "the port is missing; gRPC of Triton listens on speech.example:8001"),
        ("[::1]", r"the port is missing; gRPC of Triton listens on \[::1\]:8001"),
        ("speech.example:99999", "an address is host:port"),
        ("speech.example:grpc", "an address is host:port"),
        (":8001", "an address is host:port"),
        ("a:1,b:2", "an address is host:port"),
        ("unix:", "an address is host:port"),
        ("", "an address is host:port"),
    ],
)
def test_every_other_is_refused_with_how_to_write_it(url: str, message: str) -> None:
    with pytest.raises(AddressError, match=f"is no server's address: .*{message}"):
        Codec("mimi", ["127.0.0.1:8001", url])
    with pytest.raises(AddressError, match=message):
        served_codecs(url)


def test_the_key_may_travel_in_the_clear_within_this_machine_in_every_form() -> None:
    for url in ("dns:///localhost:8001", "ipv6:[::1]:8001", "unix:/run/tritone", "127.0.0.7:8001"):
        assert Access(api_key="secret").checked([url])
    for url in ("dns:///speech.example:8001", "localhost.example:8001"):
        with pytest.raises(ValueError, match="in the clear"):
            Access(api_key="secret").checked([url])


def test_servers_of_this_machine_are_asked_without_the_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", PROXY)
    ours = ["localhost:1", "127.0.0.1:1", "dns:///127.0.0.1:1", "unix:/run/tritone", "0.0.0.0:1"]
    assert [Address.of(url).proxy() for url in ours] == [None] * len(ours)
    assert Address.of("192.0.2.1:1").proxy() == ("http_proxy", "http://proxy.invalid:3128")


def test_the_proxy_is_found_as_grpc_finds_it(monkeypatch: pytest.MonkeyPatch) -> None:
    elsewhere = Address.of("speech.example:8001")
    assert elsewhere.proxy() is None
    for name in ("http_proxy", "https_proxy", "grpc_proxy"):  # the later ones win
        monkeypatch.setenv(name, f"http://{name.replace('_', '-')}.invalid:3128")
        assert elsewhere.proxy() == (name, f"http://{name.replace('_', '-')}.invalid:3128")
    monkeypatch.setenv("no_proxy", "elsewhere.invalid,.example")
    assert elsewhere.proxy() is None
    monkeypatch.setenv("no_grpc_proxy", "elsewhere.invalid")
    assert elsewhere.proxy() is not None


@pytest.mark.parametrize("status", ["UNAVAILABLE", "DEADLINE_EXCEEDED"])
def test_a_failure_behind_a_proxy_names_it_without_its_password(
    status: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("https_proxy", PROXY)
    message = str(typed(StatusError(status, "refused"), server_at("192.0.2.1:8001"), 1))
    assert "192.0.2.1:8001 through the proxy http://proxy.invalid:3128 ($https_proxy; hosts in " in message
    assert "proxy" not in str(typed(StatusError(status, "refused"), server_at("127.0.0.1:8001"), 1))


def test_a_proxy_that_fails_is_named_to_the_caller(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as closed:  # bound, and nobody listens
        closed.bind(("127.0.0.1", 0))
        proxy = f"http://127.0.0.1:{closed.getsockname()[1]}"
        monkeypatch.setenv("http_proxy", proxy)
        with pytest.raises(ServerUnavailableError, match=f"at 192.0.2.1:8001 through the proxy {proxy} "):
            Codec("mimi", "192.0.2.1:8001")


def test_a_socket_that_is_not_there_is_an_error_in_words(tmp_path: Path) -> None:
    with pytest.raises(ServerUnavailableError, match=f"the server at unix:{tmp_path}/none does not answer"):
        Codec("mimi", f"unix:{tmp_path}/none")
