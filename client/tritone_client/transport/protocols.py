"""What a port speaks that a client could not talk to: HTTP, TLS, or gRPC in the clear.

gRPC says "Socket closed" of them all. So what listens there is asked once, after the failure.
"""

import socket
import ssl
from enum import Enum, auto

from tritone_client.errors import ServerSilentError, ServerUnavailableError, WrongProtocolError
from tritone_client.transport.addresses import Address

__all__ = ["Protocol", "explained", "spoken_at"]

_WAIT_S = 10.0
_HTTP1 = b"GET /v2/health/ready HTTP/1.1\r\nHost: tritone\r\nConnection: close\r\n\r\n"
_FRAME_TYPE, _SETTINGS = 3, 4
"""An HTTP/2 server's first frame is SETTINGS, whatever it was sent; the type is its fourth byte."""


class Protocol(Enum):
    """What a port speaks."""

    GRPC = auto()
    HTTP = auto()
    TLS = auto()


def explained(error: ServerUnavailableError, url: str, encrypted: bool) -> ServerUnavailableError:
    """The error, or one that says which protocol was wrong.

    Args:
        error: as it came.
        url: of the server.
        encrypted: whether it was asked with TLS.
    """
    address = Address.of(url)
    silent = isinstance(error, ServerSilentError)  # to whatever it is asked
    if silent or address.host is None or address.port is None or address.proxy() is not None:
        return error
    spoken = spoken_at(address.host, address.port)
    if spoken is Protocol.HTTP:
        return WrongProtocolError(f"{url} speaks HTTP, and inference is gRPC only: give {_grpc_of(address)}")
    if spoken is Protocol.TLS and not encrypted:
        return WrongProtocolError(
            f"{url} expects TLS and was asked in the clear: give tls=Tls(...), or --tls to the command"
        )
    if spoken is Protocol.GRPC and encrypted:
        return WrongProtocolError(
            f"{url} speaks gRPC in the clear and was asked with TLS: leave out tls, and the command's --tls "
            "options, or start the server with a certificate"
        )
    return error


def spoken_at(host: str, port: int) -> Protocol | None:
    """What is spoken there; None where nobody listens or nothing known is said."""
    try:
        if _speaks_tls(host, port):
            return Protocol.TLS
        with socket.create_connection((host, port), _WAIT_S) as peer:
            peer.sendall(_HTTP1)
            said = peer.recv(len(_HTTP1))
    except OSError:
        return None
    if said.startswith(b"HTTP/"):
        return Protocol.HTTP
    return Protocol.GRPC if said[_FRAME_TYPE : _FRAME_TYPE + 1] == bytes([_SETTINGS]) else None


def _speaks_tls(host: str, port: int) -> bool:
    """Whether a handshake succeeds, or is refused in TLS's own words; any certificate will do."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    with socket.create_connection((host, port), _WAIT_S) as peer:
        try:
            with context.wrap_socket(peer, server_hostname=host):
                return True
        except ssl.SSLError as error:
            return "ALERT" in (error.reason or "")
        except OSError:
            return False


def _grpc_of(address: Address) -> str:
    """Its gRPC port in words, and as an address where HTTP or metrics are where they usually are."""
    at = "its gRPC port, which is 8001 unless chosen otherwise"
    return f"{at} ({address.with_port(8001)})" if address.port in (8000, 8002) else at
