"""What can be chosen about a server, each as the flags it stands for."""

import os
import socket
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from tritone_client.transport.addresses import Address
from tritone_server.binaries import ServerError
from tritone_server.settings.listening import Listening

__all__ = ["Ports", "ServerTls", "Traces"]


@dataclass(frozen=True)
class Ports:
    """TCP ports of one server."""

    http: int = 8000
    grpc: int = 8001
    metrics: int = 8002

    @classmethod
    def free(cls) -> "Ports":
        """Three ports that nobody listens on now."""
        sockets = [socket.socket() for _ in range(3)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        numbers = [each.getsockname()[1] for each in sockets]
        for each in sockets:
            each.close()
        return cls(*numbers)

    def refuse_taken(self, listening: Listening) -> None:
        """ServerError where somebody listens on one of them."""
        for name, port in vars(self).items():
            try:
                listening.probe(port)
            except OSError as error:
                raise ServerError(
                    f"{name} port {port} on {listening.ip} cannot be used ({error.strerror}); "
                    f"stop what listens there or choose another with --{name}-port"
                ) from error


@dataclass(frozen=True)
class ServerTls:
    """PEM files; with ``client_ca`` only clients that it vouches for are let in."""

    certificate: Path
    key: Path
    client_ca: Path | None = None

    def options(self) -> dict[str, object]:
        """Of the server; ServerError where a file is missing."""
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
    """Triton's own tracing by OpenTelemetry: what a request waited for, and how long the model took.

    Args:
        url: of a collector, which takes OTLP over HTTP: ``http://host:4318/v1/traces``.
        one_in: of so many requests one is traced, beside all that come with a sampled trace of their own.
    """

    url: str
    one_in: int = 1000

    def environment(self) -> dict[str, str]:
        """What keeps the server from asking a proxy for a collector on this machine."""
        host = urlsplit(self.url).hostname or ""
        if not Address(self.url, host).on_this_machine:
            return {}
        spared = [os.environ.get(name) for name in ("no_proxy", "NO_PROXY")]
        return {"no_proxy": ",".join(filter(None, [*spared, host]))}

    def flags(self) -> list[str]:
        """Of the server."""
        return [
            "--trace-config=mode=opentelemetry",
            f"--trace-config=opentelemetry,url={self.url}",
            f"--trace-config=rate={self.one_in}",
            "--trace-config=level=TIMESTAMPS",
        ]
