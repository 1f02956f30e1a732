"""What load is put on: a codec on a server, in the process of the load generator, and behind a gateway.

Another way to reach a codec is one more class with ``name`` and ``connected``, and one more entry of
:data:`PLACES`.
"""

import asyncio
import json
import re
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import WebSocketException

from tritone_client.aio import AsyncCodec
from tritone_client.errors import ServerRefusedError, ServerUnavailableError
from tritone_server.launcher import serving

__all__ = ["PLACES", "CodecTarget", "GatewayTarget", "Place", "Streams", "Target"]

Tokens = NDArray[np.int64]


class Streams(Protocol):
    """An open connection to a codec."""

    def stream(self, tokens: AsyncIterator[Tokens]) -> AsyncIterator[NDArray[Any]]:
        """Send frames of tokens [K, T] as they come, and give the pieces of audio [S] or [C, S] as they come.

        It asks for frames as soon as it could send one, and its pieces hold every sample once. A stream that
        fails raises a TritoneError or an OSError.
        """


class Target(Protocol):
    """A codec that load is put on; it is sent to the load generator's process, so it can be pickled."""

    @property
    def name(self) -> str:
        """For the names of the rows."""

    def connected(self) -> AbstractAsyncContextManager[Streams]:
        """Connect; one connection serves all streams."""


@dataclass(frozen=True)
class CodecTarget:
    """A codec through our client.

    Args:
        name: for the names of the rows.
        codec: name of the codec.
        url: gRPC address of the server, or the folder of a repository whose models run in this process.
    """

    name: str
    codec: str
    url: str | Path

    def connected(self) -> AbstractAsyncContextManager[Streams]:
        """The client."""
        return AsyncCodec(self.codec, self.url)


@dataclass(frozen=True)
class GatewayTarget:
    """A codec with one channel behind a gateway at ``host:port``: each stream is a socket."""

    name: str
    codec: str
    address: str

    def connected(self) -> AbstractAsyncContextManager[Streams]:
        """Nothing is shared by the sockets."""
        return nullcontext(self)

    async def stream(self, tokens: AsyncIterator[Tokens]) -> AsyncIterator[NDArray[Any]]:
        """As of :meth:`Streams.stream`."""
        query = f"codec={self.codec}&format=float32&tokens=int32"
        try:
            async with connect(f"ws://{self.address}/v1/stream?{query}", max_size=None, proxy=None) as socket:
                sending = asyncio.create_task(_send(socket, tokens))
                try:
                    async for message in socket:
                        if isinstance(message, bytes):
                            yield np.frombuffer(message, "<f4")
                        elif (error := json.loads(message).get("error")) is not None:
                            raise ServerRefusedError(f"{error['type']}: {error['message']}")
                    await sending
                finally:
                    sending.cancel()
        except WebSocketException as error:
            raise ServerUnavailableError(f"the gateway at {self.address}: {error}") from error


async def _send(socket: ClientConnection, tokens: AsyncIterator[Tokens]) -> None:
    async for frames in tokens:
        await socket.send(np.ascontiguousarray(frames.T).astype("<i4").tobytes())
    await socket.send('{"end": true}')


Place: TypeAlias = Callable[[Path, str], AbstractContextManager[Target]]
"""Starts what serves a codec of a repository, and ends it."""


@contextmanager
def _on_server(repository: Path, codec: str) -> Iterator[Target]:
    with serving(repository, [codec]) as server:
        yield CodecTarget("server", codec, server.url)


@contextmanager
def _in_process(repository: Path, codec: str) -> Iterator[Target]:
    yield CodecTarget("in_process", codec, repository)


@contextmanager
def _gateway(repository: Path, codec: str) -> Iterator[Target]:
    """A gateway that runs the models in its own process."""
    program = [str(Path(sys.executable).with_name("tritone")), "gateway", "--local", str(repository)]
    options = ["--port", "0", "--lead-s", "1e6", "--max-sockets", "4096", "--drain-s", "0.1"]
    with subprocess.Popen([*program, *options], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            said = process.stdout.readline()
            found = re.search(r" at http://(\S+:\d+) ", said)
            if found is None:
                raise ServerUnavailableError(f"the gateway did not start: {said or 'it said nothing'}")
            yield GatewayTarget("gateway", codec, found[1])
        finally:
            process.terminate()


PLACES: Mapping[str, Place] = {"server": _on_server, "in_process": _in_process, "gateway": _gateway}
