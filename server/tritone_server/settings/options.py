"""Ports, certificates, tracing and other settings of a server, and the command line flags they become."""

import os
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from random import SystemRandom
from urllib.parse import urlsplit

from tritone_client.transport.addresses import Address
from tritone_server.binaries import ServerError
from tritone_server.settings.listen_address import ListenAddress

__all__ = ["KEPT_REQUESTS", "Ports", "ServerTls", "Traces"]

KEPT_REQUESTS = 4096
"""Request objects that Triton's gRPC endpoint keeps for reuse; each keeps the memory of its largest request.

If more are idle, Triton frees one, and another thread may still write to it (``StreamInferResponseComplete``
in ``src/grpc/stream_infer_handler.cc`` of its server, 24.10 and main of August 2026). When it kept none, two
clients with eight busy streams each ended the server within seconds (signal 11).
"""

_LOWEST, _OUTGOING = 10_000, Path("/proc/sys/net/ipv4/ip_local_port_range")
"""Lowest port that is chosen, and the file with the ports that Linux gives to outgoing connections."""


@dataclass(frozen=True)
class Ports:
    """The TCP ports of a server."""

    http: int = 8000
    grpc: int = 8001
    metrics: int = 8002

    @classmethod
    def free(cls) -> "Ports":
        """Three ports that no program listens on at the moment, and that no outgoing connection gets."""
        unused = _unused_ports()
        return cls(next(unused), next(unused), next(unused))

    def refuse_taken(self, address: ListenAddress) -> None:
        """Raise ServerError if one of the ports cannot be bound."""
        for name, port in vars(self).items():
            try:
                address.probe(port)
            except OSError as error:
                raise ServerError(
                    f"{name} port {port} on {address.ip} cannot be used ({error.strerror}); "
                    f"stop the program that listens on it, or choose another port with --{name}-port"
                ) from error


def _unused_ports() -> Iterator[int]:
    """Different ports that can be bound.

    Between this and the server's start, the system may give a port of its own range to another program's
    connection; so these lie below that range.
    """
    first = int(_OUTGOING.read_text().split()[0]) if _OUTGOING.exists() else 0
    below = range(_LOWEST, max(_LOWEST, first))
    for port in SystemRandom().sample(below, min(100, len(below))):
        if _is_unused(port):
            yield port
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        yield port


def _is_unused(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


@dataclass(frozen=True)
class ServerTls:
    """PEM files of the gRPC port; with ``client_ca`` clients need a certificate signed by that CA."""

    certificate: Path
    key: Path
    client_ca: Path | None = None

    def options(self) -> dict[str, object]:
        """The server's TLS options; raises ServerError if a file is missing."""
        for path in filter(None, (self.certificate, self.key, self.client_ca)):
            if not path.is_file():
                raise ServerError(f"{path} is missing; give the path of a PEM file")
        options: dict[str, object] = {
            "grpc-use-ssl": 1,
            "grpc-server-cert": self.certificate,
            "grpc-server-key": self.key,
        }
        if self.client_ca is not None:
            options |= {"grpc-use-ssl-mutual": 1, "grpc-root-cert": self.client_ca}
        return options


@dataclass(frozen=True)
class Traces:
    """Triton's tracing with OpenTelemetry: how long requests queue, and how long the models run.

    Args:
        url: the collector that receives OTLP over HTTP, such as ``http://host:4318/v1/traces``.
        one_in: one of so many requests is traced; requests within a client's sampled trace always are.
    """

    url: str
    one_in: int = 1000

    def environment(self) -> dict[str, str]:
        """Environment variables that exempt a collector on this machine from the proxy."""
        host = urlsplit(self.url).hostname or ""
        if not Address(self.url, host).on_this_machine:
            return {}
        exempt = [os.environ.get(name) for name in ("no_proxy", "NO_PROXY")]
        return {"no_proxy": ",".join(filter(None, [*exempt, host]))}

    def flags(self) -> list[str]:
        """The server's tracing flags."""
        return [
            "--trace-config=mode=opentelemetry",
            f"--trace-config=opentelemetry,url={self.url}",
            f"--trace-config=rate={self.one_in}",
            "--trace-config=level=TIMESTAMPS",
        ]
