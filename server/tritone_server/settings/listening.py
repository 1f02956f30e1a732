"""Where a server listens: one IP address, in the words of each of Triton's services."""

import errno
import socket
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address

from tritone_server.binaries import ServerError

__all__ = ["Listening"]


@dataclass(frozen=True)
class Listening:
    """An address of this machine.

    Triton takes no names for HTTP: with one it says that it has started, and listens nowhere.
    """

    ip: IPv4Address | IPv6Address

    @classmethod
    def at(cls, host: str) -> "Listening":
        """The address that a name or an IP address stands for; IPv4 where a name has both.

        Raises:
            ServerError: it is none of this machine's, or one where Triton does not serve.
        """
        try:
            found = socket.getaddrinfo(host.strip("[]"), None, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            raise ServerError(f"--host {host} is no address of this machine: {error}") from error
        texts = [str(address[0]) for *_, address in sorted(found, key=lambda each: each[0] != socket.AF_INET)]
        ip = ip_address(texts[0])
        if isinstance(ip, IPv6Address) and ip.is_link_local:
            raise ServerError(f"--host {host} is of one link only, where Triton does not serve; give ::")
        listening = cls(getattr(ip, "ipv4_mapped", None) or ip)
        listening._refuse_if_foreign(host)
        return listening

    def _refuse_if_foreign(self, host: str) -> None:
        try:
            self.probe(0)
        except OSError as error:
            lacks = error.errno == errno.EAFNOSUPPORT
            why = "this machine has no IPv6" if lacks else f"{error.strerror}"
            raise ServerError(f"--host {host} is no address of this machine: {why}") from error

    def probe(self, port: int) -> None:
        """Bind the port for a moment; OSError where that cannot be."""
        with socket.socket(socket.AF_INET6 if self._is_ipv6 else socket.AF_INET) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((str(self.ip), port))

    def options(self) -> dict[str, str]:
        """Of the server: HTTP and metrics mark IPv6 by a prefix, gRPC by brackets."""
        http, grpc = (f"ipv6:{self.ip}", f"[{self.ip}]") if self._is_ipv6 else (str(self.ip), str(self.ip))
        return {"http-address": http, "grpc-address": grpc, "metrics-address": http}

    def here(self, port: int) -> str:
        """The address for clients on this machine, as host:port."""
        ip = self.ip
        if ip.is_unspecified:
            ip = ip_address("::1") if self._is_ipv6 else ip_address("127.0.0.1")
        return f"[{ip}]:{port}" if self._is_ipv6 else f"{ip}:{port}"

    @property
    def grpc_only_on_ipv4(self) -> bool:
        """Whether gRPC also serves IPv4, where HTTP and metrics do not: of all of Triton's on ``::``."""
        return self._is_ipv6 and self.ip.is_unspecified

    @property
    def _is_ipv6(self) -> bool:
        return isinstance(self.ip, IPv6Address)
