"""One live socket: messages in, audio or tokens out, at a bounded lead over real time."""

import asyncio
import json
from typing import Any

from starlette.websockets import WebSocket, WebSocketDisconnect

from tritone_client.aio import AsyncStream
from tritone_client.gateway.access import PROTOCOL
from tritone_client.gateway.failures import ClosingError, SlowReaderError, TooLargeError
from tritone_client.gateway.sockets.inbox import Inbox, Pace
from tritone_client.gateway.sockets.jobs import Answer, Job, job_of
from tritone_client.gateway.sockets.peer import Peer
from tritone_client.gateway.sockets.query import StreamQuery
from tritone_client.gateway.state import Gateway

__all__ = ["serve_socket"]

_LOOK_S = 0.25
"""How often a connection that is not read is looked at."""


async def serve_socket(websocket: WebSocket) -> None:
    """Serve one socket until its stream ends, it leaves, or something fails, which it is told."""
    gateway: Gateway = websocket.app.state.gateway
    peer: Peer | None = websocket.scope.get("state", {}).get("peer")
    protocols = websocket.scope.get("subprotocols", [])
    try:
        await websocket.accept(PROTOCOL if PROTOCOL in protocols else None)
        await _serve(websocket, gateway, peer)
        await websocket.close()
    except WebSocketDisconnect:
        pass
    except Exception as error:
        await _tell(websocket, gateway, peer, error)
    finally:
        if peer is not None:
            peer.cut_off_after(gateway.limits.send_s)


async def _serve(websocket: WebSocket, gateway: Gateway, peer: Peer | None) -> None:
    if gateway.draining:
        raise ClosingError("the gateway is about to stop; connect again")
    query = StreamQuery.of(websocket.query_params)
    holder = gateway.keys.holder(websocket.headers, websocket.scope.get("subprotocols", []))
    with gateway.sockets.one(holder):
        gateway.metrics.add("sockets_total")
        job = job_of(query, await gateway.codecs.open(query.codec))
        await _LiveSocket(websocket, gateway, job, peer).serve()


async def _tell(websocket: WebSocket, gateway: Gateway, peer: Peer | None, error: Exception) -> None:
    """Send an error and close."""
    failure = gateway.failure(error)
    text = json.dumps(failure.json)
    if isinstance(error, SlowReaderError) and peer is not None:
        peer.dismiss(failure, text)
        return
    try:
        async with asyncio.timeout(gateway.limits.send_s):
            await websocket.send_text(text)
            await websocket.close(failure.close_code, failure.reason)
    except (WebSocketDisconnect, TimeoutError, RuntimeError):  # the last: the server has closed it already
        if peer is not None:
            peer.dismiss(failure, text)


class _LiveSocket:
    def __init__(self, websocket: WebSocket, gateway: Gateway, job: Job, peer: Peer | None):
        self._websocket, self._gateway, self._job, self._peer = websocket, gateway, job, peer
        self._limits = gateway.limits
        self._inbox, self._pace = Inbox(self._limits.waiting_bytes), Pace(self._limits.lead_s)
        self._counted = 0

    async def serve(self) -> None:
        """Read, work and watch for the gateway's end, until one of these ends; then end the others."""
        parts = [asyncio.create_task(part) for part in (self._work(), self._read(), self._closed())]
        try:
            done, _ = await asyncio.wait(parts, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for part in parts:
                part.cancel()
            await asyncio.gather(*parts, return_exceptions=True)
        next(part for part in parts if part in done).result()

    async def _closed(self) -> None:
        await self._gateway.closing.wait()
        raise ClosingError("the gateway stops; connect again")

    async def _read(self) -> None:
        """Put messages into the inbox; while that is full, the socket is not read."""
        while True:
            event = await self._websocket.receive()
            if event["type"] == "websocket.disconnect":
                raise WebSocketDisconnect(event.get("code", 1005))
            text, binary = event.get("text"), event.get("bytes")
            message: str | bytes = text if text is not None else binary or b""
            if len(message) > self._limits.message_bytes:
                raise TooLargeError(
                    f"a message has at most {self._limits.message_bytes} bytes, got {len(message)}; send "
                    "fewer frames in each"
                )
            self._inbox.put(message)
            await self._room()

    async def _room(self) -> None:
        while not self._inbox.has_room.is_set():
            try:
                async with asyncio.timeout(_LOOK_S):
                    await self._inbox.has_room.wait()
            except TimeoutError:
                if self._peer is not None and self._peer.hung_up:
                    raise WebSocketDisconnect(1006) from None

    async def _work(self) -> None:
        await self._send({"start": self._job.facts})
        said = self._job.said(await self._inbox.get(self._limits.idle_s))
        async with self._job.opened(said) as stream:
            delay_ms = stream.delay_ms
            while True:
                await self._push(stream, said)
                if said.ends:
                    break
                said = self._job.said(await self._inbox.get(self._limits.idle_s))
            await self._answer(self._job.answer(await stream.close(), last=True))
            clipped = stream.clipped
        await self._send({"summary": self._summary(delay_ms, clipped)})

    async def _push(self, stream: AsyncStream[Any], said: Any) -> None:
        metrics = self._gateway.metrics
        for piece, seconds in self._job.pieces(said):
            wait_s = self._pace.ahead_s(seconds)
            if wait_s:
                metrics.add("waits_total")
                await asyncio.sleep(wait_s)
            await self._answer(self._job.answer(await stream.push(piece)))
            metrics.add("audio_seconds_total", seconds)

    async def _answer(self, answer: Answer | None) -> None:
        if answer is not None:
            await self._send(answer)
        self._gateway.metrics.add("frames_total", self._job.frames - self._counted)
        self._counted = self._job.frames

    async def _send(self, answer: Answer) -> None:
        """Send; SlowReaderError if what was sent before is not read within the limit."""
        try:
            async with asyncio.timeout(self._limits.send_s):
                if isinstance(answer, bytes):
                    await self._websocket.send_bytes(answer)
                else:
                    await self._websocket.send_text(json.dumps(answer))
        except TimeoutError:
            raise SlowReaderError(
                f"what was sent was not read for {self._limits.send_s:g} s; read while you send"
            ) from None

    def _summary(self, delay_ms: float, clipped: int) -> dict[str, Any]:
        job = self._job
        seconds = round(job.seconds, 6)
        return {"frames": job.frames, "seconds": seconds, "delay_ms": delay_ms, "clipped": clipped}
