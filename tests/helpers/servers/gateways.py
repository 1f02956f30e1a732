"""A gateway in a thread of the test's process, and a client that talks to it."""

import asyncio
import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
from numpy.typing import NDArray
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Subprotocol

from tritone_client.gateway.server import GatewayServer, gateway_server
from tritone_client.gateway.settings import Limits, Settings
from tritone_client.gateway.state import Gateway

PATIENCE_S = 60.0
"""Limit of every wait: only something that hangs takes this long, even on a busy machine."""


class RunningGateway:
    """A gateway that runs."""

    def __init__(self, server: GatewayServer):
        self.server = server
        self.address = f"127.0.0.1:{server.port}"

    @property
    def live(self) -> int:
        """Its live sockets."""
        return self.shared.sockets.taken

    @property
    def shared(self) -> Gateway:
        """What its requests share."""
        gateway: Gateway = self.server.app.state.gateway
        return gateway

    def talk(self, query: str = "", key: str | None = None, **options: Any) -> "Talk":
        """Open a socket."""
        protocols = None if key is None else [Subprotocol("tritone"), Subprotocol(f"key.{key}")]
        address = f"ws://{self.address}/v1/stream?{query}"
        return Talk(connect(address, subprotocols=protocols, max_size=None, proxy=None, **options))


class Talk:
    """A client's end of a socket."""

    def __init__(self, socket: ClientConnection):
        self.socket = socket

    def __enter__(self) -> "Talk":
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, message: Any) -> None:
        """Send bytes as they are, and anything else as JSON."""
        self.socket.send(message if isinstance(message, bytes | str) else json.dumps(message))

    def next(self) -> Any:
        """The next message: bytes, or what JSON says."""
        message = self.socket.recv(PATIENCE_S)
        return message if isinstance(message, bytes) else json.loads(message)

    def rest(self) -> tuple[list[bytes], list[dict[str, Any]], int, str]:
        """All messages until the socket is closed, binary ones and others, and how it was closed."""
        sound: list[bytes] = []
        said: list[dict[str, Any]] = []
        try:
            while True:
                message = self.next()
                if isinstance(message, bytes):
                    sound.append(message)
                else:
                    said.append(message)
        except ConnectionClosed:
            return sound, said, self.socket.close_code or 1006, self.socket.close_reason or ""

    def said_all(self, messages: list[Any]) -> tuple[bytes, dict[str, Any], dict[str, Any]]:
        """Send all messages and the end; the sound, the facts and the summary."""
        for message in [*messages, {"end": True}]:
            self.send(message)
        sound, (start, *rest), code, _ = self.rest()
        assert (len(rest), code) == (1, 1000), rest
        return b"".join(sound), start["start"], rest[0]["summary"]

    def refusal(self) -> tuple[str, str, int]:
        """The error's type, its words, and the close code."""
        _, said, code, reason = self.rest()
        error = said[-1]["error"]
        assert error["message"].startswith(reason)
        return error["type"], error["message"], code


def frames_of(tokens: NDArray[np.int64]) -> list[list[int]]:
    """Tokens [K, T] as JSON's frames."""
    frames: list[list[int]] = tokens.T.tolist()
    return frames


def wait_until(true: Callable[[], bool]) -> float:
    """Wait for something; how long it took, in seconds."""
    begun = time.monotonic()
    while not true():
        assert time.monotonic() < begun + PATIENCE_S
        time.sleep(0.01)
    return time.monotonic() - begun


@contextmanager
def running_gateway(url: str | Path, keys: tuple[str, ...] = (), **limits: float) -> Iterator[RunningGateway]:
    """Run a gateway on a free port; limits that are not given are generous."""
    settings = Settings(url, keys=keys, limits=Limits(**{"lead_s": 600.0, "drain_s": 0.05} | limits))  # type: ignore[arg-type]
    server = gateway_server(settings, "127.0.0.1", 0)
    thread = Thread(target=lambda: asyncio.run(server.serve()))
    thread.start()
    try:
        wait_until(lambda: server.started or not thread.is_alive())
        yield RunningGateway(server)
    finally:
        server.should_exit = True
        thread.join(PATIENCE_S)
