"""Certificates for encrypted connections."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["Tls"]


@dataclass(frozen=True)
class Tls:
    """Encrypted connections to servers; all files are in PEM format.

    Args:
        ca: certificates of authorities that may vouch for the server; the machine's own list if None.
        certificate: this client's certificate, for servers that require one.
        key: private key of ``certificate``.

    Raises:
        ValueError: only one of ``certificate`` and ``key`` was given.
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
        """The certificates in the form that gRPC takes."""
        import grpc  # type: ignore[import-untyped]  # a codec in process does not need it

        contents = [
            None if each is None else each.read_bytes() for each in (self.ca, self.key, self.certificate)
        ]
        return grpc.ssl_channel_credentials(*contents)
