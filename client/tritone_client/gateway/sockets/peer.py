"""The connection under a socket: what ASGI does not show, but a client that stops reading makes necessary."""

import select
from asyncio import BaseTransport
from typing import Any

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from tritone_client.gateway.failures import Failure

__all__ = ["Peer", "SocketProtocol"]

_LINGER_S = 5.0


class SocketProtocol(WebSocketsSansIOProtocol):
    """Uvicorn's protocol; the application finds a :class:`Peer` in the state of the socket."""

    def connection_made(self, transport: BaseTransport) -> None:
        """Called when a connection is made."""
        super().connection_made(transport)
        self.app_state = {**self.app_state, "peer": Peer(self)}


class Peer:
    """The other end of a socket."""

    def __init__(self, protocol: SocketProtocol):
        self._protocol = protocol

    @property
    def hung_up(self) -> bool:
        """Whether the client closed the connection, even if there is something left to read."""
        socket: Any = self._protocol.transport.get_extra_info("socket")
        if self._protocol.disconnected or socket is None or socket.fileno() < 0:
            return True
        poll = select.poll()
        poll.register(socket.fileno(), _HANGUP)
        return bool(poll.poll(0))

    def cut_off_after(self, limit_s: float) -> None:
        """End the connection after some seconds, at least five, even if what is left is never read."""
        self._protocol.loop.call_later(max(_LINGER_S, limit_s), self._protocol.transport.abort)

    def dismiss(self, failure: Failure, text: str) -> None:
        """Tell of an error and close, without waiting for what was sent before to be read."""
        protocol = self._protocol
        if protocol.disconnected or protocol.close_sent or protocol.transport.is_closing():
            return
        protocol.conn.send_text(text.encode())
        protocol.conn.send_close(failure.close_code, failure.reason)
        protocol.transport.write(b"".join(protocol.conn.data_to_send()))
        protocol.close_sent = True


_HANGUP = getattr(select, "POLLRDHUP", 0) | select.POLLHUP | select.POLLERR
