"""Certificates of an encrypted connection."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["Tls"]


@dataclass(frozen=True)
class Tls:
    """Files in PEM.

    Args:
        ca: certificates of who may vouch for the server; the machine's own list if None.
        certificate: of this client, where the server asks for one.
        key: of that certificate.

    Raises:
        ValueError: a certificate without its key, or the other way round.
        OSError: a file cannot be read.
    """

    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None

    def __post_init__(self) -> None:
        if (self.certificate is None) != (self.key is None):
            raise ValueError("a client's certificate and its key go together; one of them is missing")
        self.credentials()

    def credentials(self) -> Any:
        """As gRPC takes them."""
        import grpc  # type: ignore[import-untyped]  # which a codec in process does without

        contents = [
            None if each is None else each.read_bytes() for each in (self.ca, self.key, self.certificate)
        ]
        return grpc.ssl_channel_credentials(*contents)
