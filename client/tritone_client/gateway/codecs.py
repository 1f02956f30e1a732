"""The codecs behind a gateway, each opened at its first use."""

import asyncio
from typing import Any

from tritone_client.aio import AsyncCodec
from tritone_client.errors import UnknownCodecError
from tritone_client.gateway.failures import ParameterError
from tritone_client.gateway.settings import Settings
from tritone_client.served import served_codecs

__all__ = ["Codecs"]

_LIST_TIMEOUT_S = 5.0


class Codecs:
    """Codecs of a server or a folder; all streams of a codec share one :class:`AsyncCodec`."""

    def __init__(self, settings: Settings):
        self._url, self._device = settings.url, settings.device
        self._access: dict[str, Any] = {"tls": settings.tls, "api_key": settings.api_key}
        self._opened: dict[str, AsyncCodec] = {}
        self._opening = asyncio.Lock()

    async def names(self) -> list[str]:
        """Names of the codecs there are; errors as of :func:`tritone_client.served_codecs`."""
        return await asyncio.to_thread(served_codecs, self._url, _LIST_TIMEOUT_S, **self._access)

    async def open(self, name: str | None) -> AsyncCodec:
        """A codec by name; None stands for the only one.

        Raises:
            UnknownCodecError: there is no such codec.
            ParameterError: no name was given, and there are several.
            ServerUnavailableError, ServerRefusedError: as of :class:`AsyncCodec`.
        """
        if name is None or name not in self._opened:
            name = _chosen(name, await self.names())
            async with self._opening:
                if name not in self._opened:
                    codec = AsyncCodec(name, self._url, device=self._device, **self._access)
                    self._opened[name] = await codec.__aenter__()
        return self._opened[name]

    async def close(self) -> None:
        """Close all of them."""
        while self._opened:
            await self._opened.popitem()[1].close()


def _chosen(name: str | None, names: list[str]) -> str:
    if name is None:
        if len(names) != 1:
            raise ParameterError(f"there is {', '.join(names) or 'no codec'}; choose one with ?codec=")
        return names[0]
    if name not in names:
        raise UnknownCodecError(name, "the gateway", names)
    return name
