"""What the messages of a socket say."""

import json
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tritone_client.errors import AudioError, TokensError
from tritone_client.formats.samples import ARRAY_TYPES
from tritone_client.gateway.failures import MessageError
from tritone_client.gateway.sockets.inbox import Message
from tritone_client.info import CodecInfo

__all__ = ["Said", "audio_in", "tokens_in"]

_TAKEN = '{"frames": [[...], ...]}, {"prefix": [[...], ...]} first of all, or {"end": true}'
_NAMES = {"frames", "prefix", "end"}


@dataclass(frozen=True)
class Said:
    """One message: data for the stream, [K, T] or samples; whether it ends; tokens [K, T] before it."""

    data: NDArray[Any] | None = None
    ends: bool = False
    prefix: NDArray[Any] | None = None


def tokens_in(message: Message, info: CodecInfo, books: int, binary: str | None) -> Said:
    """Tokens of a message: JSON frames, or binary [T, K] little endian of the type ``binary``.

    Raises:
        MessageError: the message is of a kind that the stream does not take.
        TokensError: a frame has the wrong width, or is not made of integers.
    """
    if isinstance(message, bytes):
        return Said(_of_bytes(message, info, books, binary))
    found = _parsed(message)
    if isinstance(found, list):
        found = {"frames": found}
    strange = set(found) - _NAMES
    if strange or not found:
        named = f"{sorted(strange)[0][:40]!r}" if strange else "nothing"
        raise MessageError(f"the message has {named}; there is {_TAKEN}")
    if "end" in found and found["end"] is not True:
        raise MessageError(f"end is true, got {str(found['end'])[:40]}; leave it out until the stream ends")
    frames, prefix = (
        _frames(found[name], info, books) if name in found else None for name in ("frames", "prefix")
    )
    return Said(frames, "end" in found, prefix)


def audio_in(message: Message, info: CodecInfo, dtype: str) -> Said:
    """Audio of a binary message, [S] or [C, S] of samples in turn.

    Raises:
        MessageError: it is text, and does not end the stream.
        AudioError: it holds no whole number of samples.
    """
    if isinstance(message, str):
        found = _parsed(message)
        if isinstance(found, dict) and list(found) == ["end"] and found["end"] is True:
            return Said(ends=True)
        raise MessageError('audio is sent in binary messages, and {"end": true} ends it')
    kind = np.dtype(ARRAY_TYPES[dtype]).newbyteorder("<")
    sample_bytes = kind.itemsize * info.num_channels
    if len(message) % sample_bytes:
        raise AudioError(
            f"a message of {dtype} audio has a multiple of {sample_bytes} bytes, got {len(message)}; send "
            "whole samples"
        )
    samples = np.frombuffer(message, kind).astype(kind.newbyteorder("="), copy=False)
    return Said(samples if info.num_channels == 1 else samples.reshape(-1, info.num_channels).T)


def _parsed(message: str) -> dict[str, Any] | list[Any]:
    try:
        found = json.loads(message)
    except (ValueError, RecursionError) as error:
        raise MessageError(f"the message is no JSON ({error}); there is {_TAKEN}") from error
    if not isinstance(found, dict | list):
        raise MessageError(f"the message is {message[:40]}; there is {_TAKEN}")
    return found


def _of_bytes(message: bytes, info: CodecInfo, books: int, binary: str | None) -> NDArray[Any]:
    if binary is None:
        raise MessageError(
            "binary tokens need ?tokens=int16 or ?tokens=int32 in the address; without it tokens are JSON"
        )
    kind = np.dtype(binary)
    if len(message) % (books * kind.itemsize):
        raise TokensError(
            f"a frame of {info.name} has {books} tokens of {kind.itemsize} bytes, got a message of "
            f"{len(message)} bytes; send whole frames, one after the other"
        )
    return np.frombuffer(message, kind).reshape(-1, books).T.astype(np.int64)


def _frames(given: Any, info: CodecInfo, books: int) -> NDArray[Any]:
    """Tokens [K, T] of JSON: a list of frames, or one frame."""
    if isinstance(given, list) and given and not any(isinstance(each, list) for each in given):
        given = [given]
    if not isinstance(given, list):
        raise TokensError(f"frames are a list of lists of {books} integers, got {str(given)[:40]}")
    for number, frame in enumerate(given):
        if not isinstance(frame, list) or any(type(token) is not int for token in frame):
            raise TokensError(f"frame {number} is not a list of integers: {str(frame)[:40]}")
        if len(frame) != books:
            raise TokensError(f"a frame of {info.name} has {books} tokens, frame {number} has {len(frame)}")
    try:
        return np.array(given, np.int64).reshape(-1, books).T
    except OverflowError as error:
        raise TokensError(f"tokens of {info.name} are 0..{info.codebook_size - 1}") from error
