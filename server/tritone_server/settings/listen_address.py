"""The IP address that a server listens on, in the spelling of each of Triton's services."""

import errno
import socket
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address

from tritone_server.binaries import ServerError

__all__ = ["ListenAddress"]


@dataclass(frozen=True)
class ListenAddress:
    """An IP address of this machine.

    Triton accepts only IP addresses for HTTP: given a host name it reports that it has started, but does not
    listen.
    """

    ip: IPv4Address | IPv6Address

    @classmethod
    def at(cls, host: str) -> "ListenAddress":
        """Resolve a host name or an IP address; a name with both IPv4 and IPv6 addresses resolves to IPv4.

        Raises:
            ServerError: the address is not one of this machine's, or Triton cannot listen on it.
        """
        try:
            found = socket.getaddrinfo(host.strip("[]"), None, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            raise ServerError(f"--host {host} is not an address of this machine: {error}") from error
        texts = [str(address[0]) for *_, address in sorted(found, key=lambda each: each[0] != socket.AF_INET)]
        ip = ip_address(texts[0])
        if isinstance(ip, IPv6Address) and ip.is_link_local:
            raise ServerError(
                f"--host {host} is a link-local address, which Triton cannot listen on; use --host ::"
            )
        address = cls(getattr(ip, "ipv4_mapped", None) or ip)
        address._refuse_if_foreign(host)
        return address

    def _refuse_if_foreign(self, host: str) -> None:
        try:
            self.probe(0)
        except OSError as error:
            lacks = error.errno == errno.EAFNOSUPPORT
            why = "this machine has no IPv6" if lacks else f"{error.strerror}"
            raise ServerError(f"--host {host} is not an address of this machine: {why}") from error

    def probe(self, port: int) -> None:
        """Bind the port and release it; raises OSError if the port cannot be bound."""
        with socket.socket(socket.AF_INET6 if self._is_ipv6 else socket.AF_INET) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((str(self.ip), port))

    def options(self) -> dict[str, str]:
        """The server's address options: IPv6 has a prefix for HTTP and metrics, and brackets for gRPC."""
        http, grpc = (f"ipv6:{self.ip}", f"[{self.ip}]") if self._is_ipv6 else (str(self.ip), str(self.ip))
        return {"http-address": http, "grpc-address": grpc, "metrics-address": http}

    def here(self, port: int) -> str:
        """The address that clients on this machine connect to, as host:port."""
        ip = self.ip
        if ip.is_unspecified:
            ip = ip_address("::1") if self._is_ipv6 else ip_address("127.0.0.1")
        return f"[{ip}]:{port}" if self._is_ipv6 else f"{ip}:{port}"

    @property
    def grpc_only_on_ipv4(self) -> bool:
        """Whether gRPC also listens on IPv4 while HTTP and metrics do not, as Triton does on ``::``."""
        return self._is_ipv6 and self.ip.is_unspecified

    @property
    def _is_ipv6(self) -> bool:
        return isinstance(self.ip, IPv6Address)
