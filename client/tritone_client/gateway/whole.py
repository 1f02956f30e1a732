"""Whole files over HTTP: ``/v1/decode`` and ``/v1/encode``."""

import asyncio
import io
import json
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from starlette.requests import Request
from starlette.responses import Response

from tritone_client.cli.file_kinds import kind_of
from tritone_client.cli.token_files import tokens_of_file
from tritone_client.errors import TokensError
from tritone_client.formats.output import AudioFormat
from tritone_client.gateway.answers import HeldResponse
from tritone_client.gateway.body import body_of
from tritone_client.gateway.failures import AcceptError, TooLargeError
from tritone_client.gateway.sockets.query import integer, refuse_keys, refuse_unknown
from tritone_client.gateway.sound_files import FILE_FORMATS, audio_in_file, sound_file
from tritone_client.gateway.state import Gateway
from tritone_client.info import CodecInfo
from tritone_client.inputs.audio import resampled

__all__ = ["decode", "encode"]

_JSON, _NPY = "application/json", "application/x-npy"
_MOST_JSON_BYTES = 4_000_000
"""Python parses JSON in one go, and everything else waits for it; arrays of NumPy have no such limit."""


async def decode(request: Request) -> Response:
    """Tokens [K, T], as JSON or ``.npy``, to an audio file."""
    gateway: Gateway = request.app.state.gateway
    with ExitStack() as held:
        held.enter_context(_taken(request, gateway))
        refuse_unknown(request.query_params, ("codec", "sample_rate"))
        kind = _accepted(request, tuple(FILE_FORMATS))
        wanted = AudioFormat(sample_rate_hz=integer(request.query_params, "sample_rate"))
        codec = await gateway.codecs.open(request.query_params.get("codec"))
        data = await body_of(request, gateway.limits.body_bytes, gateway.limits.idle_s)
        tokens = await asyncio.to_thread(_tokens, data)
        info = codec.info
        seconds = (tokens.shape[-1] if tokens.ndim else 0) / info.frame_rate_hz
        _refuse_long(seconds, gateway)
        audio = await codec.decode(tokens)
        write = partial(sound_file, audio, info.sample_rate_hz, wanted.sample_rate_hz, FILE_FORMATS[kind])
        content = await asyncio.to_thread(write)
        _count(gateway, tokens.shape[-1], seconds)
        return HeldResponse(content, kind, held.pop_all(), gateway.limits.send_s)


async def encode(request: Request) -> Response:
    """An audio file to tokens: JSON ``{"tokens": [K, T], ...}``, or ``.npy`` INT64 [K, T]."""
    gateway: Gateway = request.app.state.gateway
    with ExitStack() as held:
        held.enter_context(_taken(request, gateway))
        refuse_unknown(request.query_params, ("codec", "codebooks"))
        kind = _accepted(request, (_JSON, _NPY))
        books = integer(request.query_params, "codebooks")
        codec = await gateway.codecs.open(request.query_params.get("codec"))
        data = await body_of(request, gateway.limits.body_bytes, gateway.limits.idle_s)
        info, most_s = codec.info, gateway.limits.audio_s
        audio, rate_hz = await asyncio.to_thread(audio_in_file, data, info.num_channels, most_s)
        own_hz = info.encode_sample_rate_hz
        audio = await asyncio.to_thread(resampled, audio, rate_hz, own_hz)
        tokens = await codec.encode(audio, own_hz, books)
        _count(gateway, tokens.shape[1], audio.shape[-1] / own_hz)
        write = partial(_json, info, tokens) if kind == _JSON else partial(_npy, tokens)
        content = await asyncio.to_thread(write)
        return HeldResponse(content, kind, held.pop_all(), gateway.limits.send_s)


@contextmanager
def _taken(request: Request, gateway: Gateway) -> Iterator[None]:
    """Check the key, and count the request as live."""
    refuse_keys(request.query_params)
    with gateway.requests.one(gateway.keys.holder(request.headers)):
        yield
    gateway.metrics.add("requests_total")


def _count(gateway: Gateway, frames: int, seconds: float) -> None:
    gateway.metrics.add("frames_total", frames)
    gateway.metrics.add("audio_seconds_total", seconds)


def _accepted(request: Request, known: Sequence[str]) -> str:
    """The first known media type that the request accepts."""
    listed = request.headers.get("accept", "*/*").split(",")
    wanted = [each.partition(";")[0].strip().lower() for each in listed]
    for each in wanted:
        if each in known:
            return each
        if each == "*/*" or (each.endswith("/*") and known[0].startswith(each[:-1])):
            return known[0]
    raise AcceptError(f"the answer can be {', '.join(known)}; the request accepts {', '.join(wanted)[:80]}")


def _tokens(data: bytes) -> NDArray[Any]:
    kind = kind_of(data)
    if kind not in (None, "a NumPy array"):
        raise TokensError(f"the body is {kind}; send tokens [K, T] as JSON, or as .npy")
    if kind is None and len(data) > _MOST_JSON_BYTES:
        raise TooLargeError(
            f"JSON of at most {_MOST_JSON_BYTES} bytes is taken, got {len(data)}; send .npy, which is smaller"
        )
    try:
        return tokens_of_file(data, "the body")
    except MemoryError as error:
        raise TokensError("the body states a shape that is larger than memory") from error


def _refuse_long(seconds: float, gateway: Gateway) -> None:
    if seconds > gateway.limits.audio_s:
        raise TooLargeError(
            f"a file has at most {gateway.limits.audio_s:g} s of audio, got {seconds:.0f} s; use a live "
            "stream"
        )


def _json(info: CodecInfo, tokens: NDArray[np.int64]) -> bytes:
    facts = {"codec": info.name, "frame_ms": 1000 / info.frame_rate_hz}
    return json.dumps(facts | {"tokens": tokens.tolist()}).encode()


def _npy(tokens: NDArray[np.int64]) -> bytes:
    file = io.BytesIO()
    np.save(file, tokens)
    return file.getvalue()
