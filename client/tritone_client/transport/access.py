"""What accompanies every call to a server: encryption, an API key, and the context of a trace."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tritone_client.transport.addresses import Address
from tritone_client.transport.tls import Tls

try:
    from opentelemetry import propagate
except ImportError:  # without the trace extra, calls carry no trace
    propagate = None  # type: ignore[assignment]

__all__ = ["PLAIN", "Access"]


@dataclass(frozen=True)
class Access:
    """How a client connects to its servers.

    Args:
        tls: certificates; None for a connection without encryption.
        api_key: sent as ``authorization: Bearer``, which a proxy in front of the servers checks.
    """

    tls: Tls | None = None
    api_key: str | None = field(default=None, repr=False)

    def checked(self, urls: Sequence[str | Path]) -> "Access":
        """This access; ValueError if it does not suit the addresses, or the key would be sent unencrypted."""
        if any(isinstance(url, Path) for url in urls) and (self.tls or self.api_key):
            raise ValueError("tls and api_key are for servers; models in this process take neither")
        if self.api_key is None:
            return self
        if not self.api_key or not self.api_key.isascii() or not self.api_key.isprintable():
            raise ValueError("an API key is one line of printable ASCII")
        remote = [url for url in urls if not Address.of(str(url)).loopback]
        if remote and self.tls is None:
            raise ValueError(f"the API key would travel to {remote[0]} in the clear: give tls as well")
        return self

    def headers(self) -> dict[str, str]:
        """Headers of a call made now; with OpenTelemetry they name the current span."""
        headers: dict[str, str] = {}
        if self.api_key is not None:
            headers["authorization"] = f"Bearer {self.api_key}"
        if propagate is not None:
            propagate.inject(headers)
        return headers

    def metadata(self) -> list[tuple[str, str]]:
        """:meth:`headers` in the form that gRPC takes."""
        return list(self.headers().items())

    def channel(self, module: Any, url: str) -> Any:
        """A channel to a server; ``module`` is ``grpc`` or ``grpc.aio``."""
        if self.tls is None:
            return module.insecure_channel(url, options=_options(url))
        return module.secure_channel(url, self.tls.credentials(), options=_options(url))


PLAIN = Access()
"""Without encryption and without an API key."""


def _options(url: str) -> list[tuple[str, int]]:
    """Options of a channel. Without them, gRPC would reach servers on this machine through a proxy, too."""
    from tritone_client.transport.wire import (
        CHANNEL_OPTIONS,
    )  # imports gRPC, which a codec in process does not need

    direct = Address.of(url).on_this_machine
    return [*CHANNEL_OPTIONS, *([("grpc.enable_http_proxy", 0)] if direct else [])]
