"""A TCP proxy that resets its connections or stalls when it is told to: what networks do."""

import asyncio
import socket
import struct
import threading
from collections.abc import Coroutine
from pathlib import Path
from types import TracebackType
from typing import Any

__all__ = ["FlakyProxy"]

_CHUNK = 1 << 16
_AT_ONCE = struct.pack("ii", 1, 0)  # SO_LINGER: closing sends a reset


class FlakyProxy:
    """In front of a server on this machine; a context manager with a thread of its own.

    Args:
        target: host and port it passes on to.
        path: of a socket in the file system to listen on; a port of loopback by default.
    """

    def __init__(self, target: str, path: Path | None = None):
        self._path = path
        self._host, _, port = target.rpartition(":")
        self._port = int(port)
        self.url = ""
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._writers: set[asyncio.StreamWriter] = set()
        self._flows: asyncio.Event | None = None

    def reset(self) -> int:
        """Break every connection with a TCP reset; how many there were, in both directions."""
        return int(self._run(self._reset()))

    def stall(self) -> None:
        """Pass nothing on, and say nothing, until :meth:`flow`."""
        self._run(self._set_flowing(False))

    def flow(self) -> None:
        """Pass on again, what was held back too."""
        self._run(self._set_flowing(True))

    def __enter__(self) -> "FlakyProxy":
        self._thread.start()
        self._run(self._open())
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._run(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def _run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    async def _open(self) -> None:
        self._flows = asyncio.Event()
        self._flows.set()
        if self._path is not None:
            self._server = await asyncio.start_unix_server(self._joined, self._path)
            self.url = f"unix:{self._path}"
            return
        self._server = await asyncio.start_server(self._joined, "127.0.0.1", 0)
        self.url = f"127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def _close(self) -> None:
        self._server.close()
        await self._reset()

    async def _joined(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            there, back = await asyncio.open_connection(self._host, self._port)
        except OSError:
            writer.transport.abort()
            return
        self._writers |= {writer, back}
        await asyncio.gather(self._passed(reader, back), self._passed(there, writer))

    async def _passed(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert self._flows is not None, "opened"
        try:
            while data := await reader.read(_CHUNK):
                await self._flows.wait()
                writer.write(data)
                await writer.drain()
        except OSError:
            pass
        finally:
            self._writers.discard(writer)
            writer.close()

    async def _set_flowing(self, flowing: bool) -> None:
        assert self._flows is not None, "opened"
        (self._flows.set if flowing else self._flows.clear)()

    async def _reset(self) -> int:
        writers, self._writers = self._writers, set()
        for writer in writers:
            plug = writer.get_extra_info("socket")
            if plug is not None:
                plug.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _AT_ONCE)
            writer.transport.abort()
        return len(writers)
