"""What goes with every call beside its message: encryption, who asks, and the trace it belongs to."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tritone_client.transport.addresses import Address
from tritone_client.transport.tls import Tls

try:
    from opentelemetry import propagate
except ImportError:  # without the trace extra there is no trace to belong to
    propagate = None  # type: ignore[assignment]

__all__ = ["PLAIN", "Access"]


@dataclass(frozen=True)
class Access:
    """How a client comes to its servers.

    Args:
        tls: certificates; None for a connection in the clear.
        api_key: sent as ``authorization: Bearer``, which a proxy in front of the servers checks.
    """

    tls: Tls | None = None
    api_key: str | None = field(default=None, repr=False)

    def checked(self, urls: Sequence[str | Path]) -> "Access":
        """Itself; ValueError where the key could not be sent or would be read by others on the way."""
        if any(isinstance(url, Path) for url in urls) and (self.tls or self.api_key):
            raise ValueError("tls and api_key are for servers; models in this process take neither")
        if self.api_key is None:
            return self
        if not self.api_key or not self.api_key.isascii() or not self.api_key.isprintable():
            raise ValueError("an API key is one line of printable ASCII")
        seen = [url for url in urls if not Address.of(str(url)).loopback]
        if seen and self.tls is None:
            raise ValueError(f"the API key would travel to {seen[0]} in the clear: give tls as well")
        return self

    def headers(self) -> dict[str, str]:
        """Metadata of a call made now; with OpenTelemetry, of the span that is current."""
        headers: dict[str, str] = {}
        if self.api_key is not None:
            headers["authorization"] = f"Bearer {self.api_key}"
        if propagate is not None:
            propagate.inject(headers)
        return headers

    def metadata(self) -> list[tuple[str, str]]:
        """The same as gRPC takes it."""
        return list(self.headers().items())

    def channel(self, module: Any, url: str) -> Any:
        """A channel of ``grpc`` or ``grpc.aio``."""
        if self.tls is None:
            return module.insecure_channel(url, options=_options(url))
        return module.secure_channel(url, self.tls.credentials(), options=_options(url))


PLAIN = Access()
"""In the clear, as nobody in particular."""


def _options(url: str) -> list[tuple[str, int]]:
    """Of a channel: gRPC would ask a proxy from the environment for servers of this machine, too."""
    from tritone_client.transport.wire import CHANNEL_OPTIONS  # gRPC, which a codec in process does without

    direct = Address.of(url).on_this_machine
    return [*CHANNEL_OPTIONS, *([("grpc.enable_http_proxy", 0)] if direct else [])]
