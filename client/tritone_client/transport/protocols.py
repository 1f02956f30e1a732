"""The protocol of a port with which gRPC failed: HTTP, TLS, or gRPC without encryption.

gRPC reports "Socket closed" for all of them. After a failure, the client therefore probes the port once.
"""

import socket
import ssl
from enum import Enum, auto

from tritone_client.errors import ServerSilentError, ServerUnavailableError, WrongProtocolError
from tritone_client.transport.addresses import Address

__all__ = ["Protocol", "explained", "protocol_at"]

_WAIT_S = 10.0
_HTTP1 = b"GET /v2/health/ready HTTP/1.1\r\nHost: tritone\r\nConnection: close\r\n\r\n"
_FRAME_TYPE, _SETTINGS = 3, 4
"""The first frame of an HTTP/2 server is always SETTINGS; its fourth byte is the type."""


class Protocol(Enum):
    """Protocol of a port."""

    GRPC = auto()
    HTTP = auto()
    TLS = auto()


def explained(error: ServerUnavailableError, url: str, encrypted: bool) -> ServerUnavailableError:
    """The same error, or a WrongProtocolError if the port speaks another protocol.

    Args:
        error: how the call failed.
        url: address of the server.
        encrypted: whether the call used TLS.
    """
    address = Address.of(url)
    silent = isinstance(error, ServerSilentError)  # it would not answer a probe either
    if silent or address.host is None or address.port is None or address.proxy() is not None:
        return error
    protocol = protocol_at(address.host, address.port)
    if protocol is Protocol.HTTP:
        return WrongProtocolError(f"{url} speaks HTTP, and inference is gRPC only: give {_grpc_of(address)}")
    if protocol is Protocol.TLS and not encrypted:
        return WrongProtocolError(
            f"{url} expects TLS and was asked in the clear: give tls=Tls(...), or --tls to the command"
        )
    if protocol is Protocol.GRPC and encrypted:
        return WrongProtocolError(
            f"{url} speaks gRPC in the clear and was asked with TLS: leave out tls, and the command's --tls "
            "options, or start the server with a certificate"
        )
    return error


def protocol_at(host: str, port: int) -> Protocol | None:
    """The protocol of a port; None if nothing listens there, or the protocol is none of these."""
    try:
        if _speaks_tls(host, port):
            return Protocol.TLS
        with socket.create_connection((host, port), _WAIT_S) as peer:
            peer.sendall(_HTTP1)
            reply = peer.recv(len(_HTTP1))
    except OSError:
        return None
    if reply.startswith(b"HTTP/"):
        return Protocol.HTTP
    return Protocol.GRPC if reply[_FRAME_TYPE : _FRAME_TYPE + 1] == bytes([_SETTINGS]) else None


def _speaks_tls(host: str, port: int) -> bool:
    """Whether a TLS handshake succeeds or is refused by an alert; any certificate is accepted."""
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
    """Part of an error message: the gRPC port, as an address if the given port is a usual one of Triton."""
    at = "its gRPC port, which is 8001 unless chosen otherwise"
    return f"{at} ({address.with_port(8001)})" if address.port in (8000, 8002) else at
