"""Addresses of servers: how they are written, whether they are on this machine, and proxies on the way."""

import os
import re
import socket
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import proxy_bypass_environment  # type: ignore[attr-defined]

from tritone_client.errors import AddressError

__all__ = ["Address", "server_at", "through_proxy"]

_SOCKETS = ("unix:", "unix-abstract:")
_RESOLVED = re.compile(r"(?:dns:(?://[^/]*/)?|ipv[46]:)(?!/)")
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_HOST_PORT = re.compile(r"(?P<host>\[[^\]]+\]|[^\[\]:/\s]+):(?P<port>\d{1,5})")
_MOST_PORT = 65_535
_PROXY_VARIABLES = ("grpc_proxy", "https_proxy", "http_proxy")
_WITHOUT_PROXY = ("no_grpc_proxy", "no_proxy")
_FORMS = "an address is host:port, [IPv6]:port, dns:///host:port or unix:/path"


@dataclass(frozen=True)
class Address:
    """Address of a server's gRPC port.

    Args:
        url: the address as it was given, which gRPC takes.
        host: name or IP address without brackets; None for a Unix socket.
        port: port of the host; None for a Unix socket.
    """

    url: str
    host: str | None = None
    port: int | None = None

    @classmethod
    def of(cls, url: str) -> "Address":
        """Parse an address.

        Raises:
            AddressError: gRPC would not understand the address, or take it for another one.
        """
        if url.startswith(_SOCKETS) and not url.endswith(":"):
            return cls(url)
        rest = _RESOLVED.sub("", url, count=1)
        parts = _HOST_PORT.fullmatch(rest)
        if parts is None or int(parts["port"]) > _MOST_PORT:
            raise AddressError(f"{url!r} is no server's address: {_mistake(rest)}")
        return cls(url, parts["host"].strip("[]"), int(parts["port"]))

    @property
    def on_this_machine(self) -> bool:
        """Whether the address is a loopback address or one of this machine's own IP addresses."""
        return self.loopback or _is_bindable(self.host or "")

    @property
    def loopback(self) -> bool:
        """Whether data sent to the address never leaves this machine."""
        if self.host is None or self.host.lower() == "localhost":
            return True
        try:
            return ip_address(self.host).is_loopback
        except ValueError:
            return False

    def with_port(self, port: int) -> str:
        """``host:port`` of another port on the same host."""
        return _joined(self.host or "localhost", port)

    def proxy(self) -> tuple[str, str] | None:
        """The variable that names gRPC's proxy for this server, and the proxy without its password."""
        if self.host is None or self.on_this_machine:
            return None
        excepted = next(filter(None, map(os.environ.get, _WITHOUT_PROXY)), "")
        if proxy_bypass_environment(self.host, {"no": excepted}):
            return None
        variable = next((name for name in _PROXY_VARIABLES if os.environ.get(name)), None)
        return None if variable is None else (variable, _without_password(os.environ[variable]))


def server_at(url: str) -> str:
    """How messages name a server; they add the proxy that gRPC uses for it."""
    return f"the server at {url}{through_proxy(url)}"


def through_proxy(url: str) -> str:
    """Part of an error message: the proxy through which gRPC reaches a server; empty without a proxy."""
    proxy = Address.of(url).proxy()
    if proxy is None:
        return ""
    return f" through the proxy {proxy[1]} (${proxy[0]}; hosts in $no_proxy are reached without)"


def _mistake(rest: str) -> str:
    """Part of an error message: what is wrong with an address, and how to write it."""
    scheme = _SCHEME.match(rest)
    if scheme is not None:
        host = urlsplit(rest).hostname or "host"
        return f"gRPC takes no {scheme[0]}; give host and gRPC port, as in {_joined(host, 8001)}"
    host, _, port = rest.rpartition(":")
    for text, number in ((host, port), (rest, 8001)):
        if _is_ipv6(text):
            return f"an IPv6 address stands in brackets, as in {_joined(text, number)}"
    if re.fullmatch(r"\[[^\[\]]+\]|[^\[\]:/\s]+", rest):
        missing = f"the port is missing; gRPC of Triton listens on {rest}:8001 unless told otherwise"
        return f"{missing}; {_folder(rest)}" if Path(rest).is_dir() else missing
    return _FORMS if ":" in rest else f"{_FORMS}; {_folder(rest)}"


def _folder(path: str) -> str:
    """How to write it if a repository is meant."""
    return f"the folder of a model repository is given as Path({path!r}), with 'from pathlib import Path'"


def _joined(host: str, port: int | str) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _is_ipv6(text: str) -> bool:
    try:
        return isinstance(ip_address(text), IPv6Address)
    except ValueError:
        return False


def _is_bindable(host: str) -> bool:
    """Whether an IP address belongs to this machine: only then can a socket be bound to it."""
    try:
        family = socket.AF_INET6 if ip_address(host).version == 6 else socket.AF_INET  # noqa: PLR2004
        with socket.socket(family) as probe:
            probe.bind((host, 0))
    except (ValueError, OSError):
        return False
    return True


def _without_password(proxy: str) -> str:
    """A proxy's address without user and password."""
    return re.sub(r"//[^/@]*@", "//", proxy)
