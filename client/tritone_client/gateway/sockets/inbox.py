"""Messages of a socket that wait for their turn, and how far ahead of real time a stream is."""

import asyncio

from tritone_client.gateway.failures import IdleError

__all__ = ["Inbox", "Message", "Pace"]

Message = str | bytes
_OVERHEAD_BYTES = 64
"""Counted for each message, so that many empty ones are bounded too."""


class Inbox:
    """A queue that is full when it holds ``most_bytes``."""

    def __init__(self, most_bytes: int):
        self._most, self._held = most_bytes, 0
        self._queue: asyncio.Queue[Message] = asyncio.Queue()
        self.has_room = asyncio.Event()
        self.has_room.set()

    def put(self, message: Message) -> None:
        """Add a message."""
        self._held += len(message) + _OVERHEAD_BYTES
        self._queue.put_nowait(message)
        self._note_room()

    async def get(self, limit_s: float) -> Message:
        """The next message; IdleError if none comes within the limit."""
        try:
            async with asyncio.timeout(limit_s):
                message = await self._queue.get()
        except TimeoutError:
            raise IdleError(
                f'nothing was sent for {limit_s:g} s; end a stream with the message {{"end": true}}'
            ) from None
        self._held -= len(message) + _OVERHEAD_BYTES
        self._note_room()
        return message

    def _note_room(self) -> None:
        if self._held < self._most:
            self.has_room.set()
        else:
            self.has_room.clear()


class Pace:
    """Lets a stream be ``lead_s`` ahead of the moment at which its audio would have been played."""

    def __init__(self, lead_s: float):
        self._lead_s, self._played = lead_s, 0.0

    def ahead_s(self, seconds: float) -> float:
        """Count audio that is about to come; how long to wait before it, in seconds, or 0."""
        now = asyncio.get_running_loop().time()
        self._played = max(self._played, now) + seconds
        return max(0.0, self._played - now - self._lead_s)
