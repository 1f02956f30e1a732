"""A process with many live streams, each of which sends a request as soon as the one before is answered."""

import asyncio
from typing import Any

import grpc.aio  # type: ignore[import-untyped]
import numpy as np
from tritonclient.grpc import service_pb2

from scripts.bench.instances.pass_through import MODEL
from tritone_client.transport.interface import Place, Request
from tritone_client.transport.wire import message_of
from tritone_server.direct import NO_PROXY

__all__ = ["run_client"]

_METHOD = "/inference.GRPCInferenceService/ModelStreamInfer"


def run_client(url: str, streams: int, number: int, answers: Any, over: Any) -> None:
    """Send requests until ``over`` is set.

    Args:
        url: the server's gRPC address.
        streams: number of streams.
        number: of this client; its streams have ids of their own.
        answers: shared array; the entry ``number`` counts this client's answers.
        over: shared event.

    Raises:
        RuntimeError: the server refused a request.
    """
    asyncio.run(_run(url, range(1 + number * streams, 1 + (number + 1) * streams), number, answers, over))


async def _run(url: str, ids: range, number: int, answers: Any, over: Any) -> None:
    async with grpc.aio.insecure_channel(url, [NO_PROXY]) as channel:
        await asyncio.gather(*(_stream(channel, each, number, answers, over) for each in ids))


async def _stream(channel: Any, stream: int, number: int, answers: Any, over: Any) -> None:
    call = channel.stream_stream(_METHOD)()
    length = await _exchange(call, _message(stream, start=True))
    step = _message(stream)
    while not over.is_set():
        # All good answers have the same length, so they need not be decoded.
        await _exchange(call, step, length)
        answers[number] += 1
    await _exchange(call, _message(stream, end=True))
    await call.done_writing()


async def _exchange(call: Any, message: bytes, length: int | None = None) -> int:
    """The length of the answer; an answer of another length than ``length`` is checked for an error."""
    await call.write(message)
    answer = await call.read()
    if len(answer) != length:
        decoded = service_pb2.ModelStreamInferResponse.FromString(answer)
        if decoded.error_message:
            raise RuntimeError(decoded.error_message)
    return len(answer)


def _message(stream: int, start: bool = False, end: bool = False) -> bytes:
    arrays = {"tokens": np.ones((1, 1, 1), np.int64)}
    request = Request(MODEL, arrays, "audio", Place(stream, start, end), echoes=True)
    encoded: bytes = message_of(request).SerializeToString()
    return encoded
