"""Runs a gateway until it is told to stop."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from socket import socket

import uvicorn
from starlette.applications import Starlette

from tritone_client.gateway.app import application
from tritone_client.gateway.settings import Settings
from tritone_client.gateway.sockets.peer import SocketProtocol

__all__ = ["GatewayServer", "gateway_server", "run"]

_MORE_CONNECTIONS = 256
"""Connections beside live sockets: those that are refused in words, and requests."""


class GatewayServer(uvicorn.Server):
    """Prints its address once it can be used; before it stops it lets live sockets end."""

    def __init__(self, config: uvicorn.Config, app: Starlette, said: Callable[[int], str]):
        super().__init__(config)
        self.app, self._said = app, said

    async def startup(self, sockets: list[socket] | None = None) -> None:
        """Listen."""
        await super().startup(sockets)
        if self.started:
            print(self._said(self.port), flush=True)

    async def shutdown(self, sockets: list[socket] | None = None) -> None:
        """Refuse new sockets, wait for live ones, close those that are left, and stop."""
        if not self.force_exit:
            await self.app.state.gateway.drain()
        await super().shutdown(sockets)

    @property
    def port(self) -> int:
        """The port on which it listens; it differs from the given one if that was 0."""
        return int(self.servers[0].sockets[0].getsockname()[1])


def gateway_server(settings: Settings, host: str, port: int) -> GatewayServer:
    """A gateway on an address, to be run."""
    app, limits = application(settings), settings.limits
    config = uvicorn.Config(
        app,
        host,
        port,
        log_level="warning",
        ws=SocketProtocol,
        ws_max_size=limits.message_bytes,
        ws_per_message_deflate=False,
        ws_ping_interval=None,  # a socket that is not read cannot answer pings; idle ones end anyway
        limit_concurrency=limits.sockets + _MORE_CONNECTIONS,
        timeout_graceful_shutdown=max(1, round(limits.send_s)),
    )
    return GatewayServer(config, app, partial(_said, settings, host))


def _said(settings: Settings, host: str, port: int) -> str:
    place = f"models of {settings.url}" if isinstance(settings.url, Path) else f"server {settings.url}"
    keys = f"{len(settings.keys)} API keys" if settings.keys else "no API key needed"
    address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    bounds = f"{keys}, at most {settings.limits.sockets} sockets"
    return f"gateway to {place} at http://{address} ({bounds}); Ctrl-C ends it"


def run(settings: Settings, host: str, port: int) -> None:
    """Serve until interrupted or terminated; OSError if the address cannot be used."""
    gateway_server(settings, host, port).run()
