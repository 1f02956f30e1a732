"""What load is put on: a codec on a server, and the same codec in the process of the load generator.

Another way to reach a codec, such as a gateway over WebSocket, is one more class with ``name`` and
``connected``, and one more entry of :data:`PLACES`.
"""

from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from tritone_client.aio import AsyncCodec
from tritone_server.launcher import serving

__all__ = ["PLACES", "CodecTarget", "Place", "Streams", "Target"]

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


Place: TypeAlias = Callable[[Path, str], AbstractContextManager[Target]]
"""Starts what serves a codec of a repository, and ends it."""


@contextmanager
def _on_server(repository: Path, codec: str) -> Iterator[Target]:
    with serving(repository, [codec]) as server:
        yield CodecTarget("server", codec, server.url)


@contextmanager
def _in_process(repository: Path, codec: str) -> Iterator[Target]:
    yield CodecTarget("in_process", codec, repository)


PLACES: Mapping[str, Place] = {"server": _on_server, "in_process": _in_process}
