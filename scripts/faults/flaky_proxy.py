"""A TCP proxy that resets its connections or stalls on command, as networks do by chance."""

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
_NO_LINGER = struct.pack("ii", 1, 0)  # SO_LINGER: closing a socket sends a reset


class FlakyProxy:
    """A proxy in front of a server on this machine; a context manager with a thread of its own.

    Args:
        target: host and port to which it forwards.
        path: of a Unix socket to listen on; by default it listens on a free port of loopback.
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
        """Break every connection with a TCP reset; return how many sockets were closed, on both sides."""
        return int(self._run(self._reset()))

    def stall(self) -> None:
        """Hold back all data, with connections kept open, until :meth:`flow`."""
        self._run(self._set_flowing(False))

    def flow(self) -> None:
        """Forward data again, first what was held back."""
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
            self._server = await asyncio.start_unix_server(self._accept, self._path)
            self.url = f"unix:{self._path}"
            return
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.url = f"127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def _close(self) -> None:
        self._server.close()
        await self._reset()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            there, back = await asyncio.open_connection(self._host, self._port)
        except OSError:
            writer.transport.abort()
            return
        self._writers |= {writer, back}
        await asyncio.gather(self._forward(reader, back), self._forward(there, writer))

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
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
            connection = writer.get_extra_info("socket")
            if connection is not None:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
            writer.transport.abort()
        return len(writers)
