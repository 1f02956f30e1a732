"""What all requests of a gateway share."""

import asyncio
import logging

from tritone_client.gateway.access import Keys, Slots
from tritone_client.gateway.codecs import Codecs
from tritone_client.gateway.failures import Failure, failure_of
from tritone_client.gateway.metrics import Metrics
from tritone_client.gateway.settings import Settings

__all__ = ["Gateway"]

_LOG = logging.getLogger("tritone.gateway")


class Gateway:
    """The shared part; it belongs to the event loop that runs when it is made."""

    def __init__(self, settings: Settings):
        limits = settings.limits
        self.limits, self.codecs, self.metrics = limits, Codecs(settings), Metrics()
        self.keys = Keys(settings.keys)
        self.sockets = Slots("sockets", limits.sockets, limits.sockets_per_key)
        self.requests = Slots("requests for whole files", limits.requests)
        self.draining = False
        """Whether new sockets are refused."""
        self.closing = asyncio.Event()
        """Set when live sockets must end."""

    def failure(self, error: Exception) -> Failure:
        """What a client is told of an error; it is counted, and logged if it is the gateway's own."""
        failure = failure_of(error)
        if failure.kind == "InternalError":
            _LOG.error("a request failed", exc_info=error)
        self.metrics.add("errors_total", type=failure.kind)
        return failure

    async def drain(self) -> None:
        """Refuse new sockets, and give live ones ``drain_s`` to end; then they are closed."""
        self.draining = True
        await self._until_no_socket(self.limits.drain_s)
        self.closing.set()
        await self._until_no_socket(self.limits.send_s)

    async def _until_no_socket(self, limit_s: float) -> None:
        deadline = asyncio.get_running_loop().time() + limit_s
        while self.sockets.taken and asyncio.get_running_loop().time() < deadline:
            await asyncio.sleep(0.05)
