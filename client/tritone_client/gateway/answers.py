"""Answers of requests, sent in pieces, so that one that nobody reads is given up."""

import asyncio
from contextlib import ExitStack, suppress

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

__all__ = ["HeldResponse"]

_PIECE_BYTES = 65536


class HeldResponse(Response):
    """A response that keeps its request counted as live until it is read.

    Args:
        content: the body.
        media_type: of the body.
        held: left when the body is read, or given up.
        send_s: how long a piece may be left unread; then the connection ends.
    """

    def __init__(self, content: bytes, media_type: str, held: ExitStack, send_s: float):
        super().__init__(content, media_type=media_type)
        self._held, self._send_s = held, send_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it."""
        with self._held:
            await send(
                {"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers}
            )
            with suppress(TimeoutError):  # the server ends the connection of an answer that is not complete
                for start in range(0, len(self.body), _PIECE_BYTES):
                    piece = bytes(self.body[start : start + _PIECE_BYTES])
                    async with asyncio.timeout(self._send_s):
                        await send({"type": "http.response.body", "body": piece, "more_body": True})
                await send({"type": "http.response.body", "body": b""})
