"""Addresses of servers: their forms, which of them are on this machine, and the proxy before the others."""

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
    """Where a server's gRPC listens.

    Args:
        url: as it was given, and as gRPC takes it.
        host: name or IP address without brackets; None for a socket in the file system.
        port: of the host.
    """

    url: str
    host: str | None = None
    port: int | None = None

    @classmethod
    def of(cls, url: str) -> "Address":
        """The parts of an address.

        Raises:
            AddressError: gRPC would not understand it, or understand something else.
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
        """Whether it can only be reached from here, or is one of this machine's own IP addresses."""
        return self.loopback or _is_ours(self.host or "")

    @property
    def loopback(self) -> bool:
        """Whether what is sent there stays on this machine."""
        if self.host is None or self.host.lower() == "localhost":
            return True
        try:
            return ip_address(self.host).is_loopback
        except ValueError:
            return False

    def with_port(self, port: int) -> str:
        """Another port of the same host, as host:port."""
        return _joined(self.host or "localhost", port)

    def proxy(self) -> tuple[str, str] | None:
        """The variable by which gRPC finds a proxy for this server, and that proxy without its password."""
        if self.host is None or self.on_this_machine:
            return None
        spared = next(filter(None, map(os.environ.get, _WITHOUT_PROXY)), "")
        if proxy_bypass_environment(self.host, {"no": spared}):
            return None
        named = next((name for name in _PROXY_VARIABLES if os.environ.get(name)), None)
        return None if named is None else (named, _without_password(os.environ[named]))


def server_at(url: str) -> str:
    """A server in messages, with the proxy through which it is asked."""
    return f"the server at {url}{through_proxy(url)}"


def through_proxy(url: str) -> str:
    """Words for an error: through which proxy a server was asked; nothing where there is none."""
    proxy = Address.of(url).proxy()
    if proxy is None:
        return ""
    return f" through the proxy {proxy[1]} (${proxy[0]}; hosts in $no_proxy are reached without)"


def _mistake(rest: str) -> str:
    """What is wrong with an address, and how to write it."""
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


def _is_ours(host: str) -> bool:
    """Whether an IP address is this machine's: only such can be listened on."""
    try:
        family = socket.AF_INET6 if ip_address(host).version == 6 else socket.AF_INET  # noqa: PLR2004
        with socket.socket(family) as probe:
            probe.bind((host, 0))
    except (ValueError, OSError):
        return False
    return True


def _without_password(proxy: str) -> str:
    """As it may be shown."""
    return re.sub(r"//[^/@]*@", "//", proxy)
