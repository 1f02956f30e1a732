"""What a socket asks for in its address."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tritone_client.errors import AudioFormatError
from tritone_client.gateway.failures import KeyRefusedError, ParameterError

__all__ = ["AUDIO_FORMATS", "StreamQuery", "integer", "refuse_keys", "refuse_unknown"]

AUDIO_FORMATS = {"pcm16": "int16", "float32": "float32", "mulaw": "mulaw", "alaw": "alaw", "opus": "int16"}
"""Formats of audio on the wire, and the type of samples that the client library makes for each."""
_TOKEN_TYPES = {"int16": "<i2", "int32": "<i4"}
_POSITIVE = re.compile(r"0{0,9}[1-9][0-9]{0,8}")
_DIRECTIONS = ("decode", "encode")
_KNOWN = ("codec", "direction", "format", "sample_rate", "first", "then", "tokens", "codebooks")


@dataclass(frozen=True)
class StreamQuery:
    """A stream to decode tokens, or to encode audio; the attributes are the parameters of the address.

    Attributes:
        codec: name; None for the only one.
        direction: ``decode`` or ``encode``.
        format: of the audio, one of :data:`AUDIO_FORMATS`.
        sample_rate: of the audio in Hz; None for the codec's.
        first, then: the plan of chunks, in frames, as of :meth:`tritone_client.Codec.stream`.
        tokens: NumPy's name of the integers of binary tokens; None for JSON alone.
        codebooks: tokens in a frame; None for the codec's default.
    """

    codec: str | None = None
    direction: str = "decode"
    format: str = "pcm16"
    sample_rate: int | None = None
    first: int | None = None
    then: int | None = None
    tokens: str | None = None
    codebooks: int | None = None

    @classmethod
    def of(cls, given: Mapping[str, str]) -> "StreamQuery":
        """Parse the parameters of an address.

        Raises:
            ParameterError: one is unknown, or its value is.
            AudioFormatError: there is no such format.
            KeyRefusedError: the address holds an API key.
        """
        refuse_keys(given)
        refuse_unknown(given, _KNOWN)
        direction = _one_of(given, "direction", _DIRECTIONS, "decode")
        tokens = _one_of(given, "tokens", (*_TOKEN_TYPES, "json"), "json")
        numbers: dict[str, Any] = {name: integer(given, name) for name in ("sample_rate", "codebooks")}
        plan = {name: integer(given, name) for name in ("first", "then")}
        if direction == "encode" and any(plan.values()):
            raise ParameterError("first and then plan the chunks of decoding; leave them out to encode")
        return cls(
            codec=given.get("codec") or None,
            direction=direction,
            format=_format(given.get("format", "pcm16"), direction),
            tokens=_TOKEN_TYPES.get(tokens),
            **numbers,
            **plan,
        )


def refuse_keys(given: Mapping[str, str]) -> None:
    """KeyRefusedError if the address holds an API key."""
    if any(name.lower() in ("key", "api_key", "token") for name in given):
        raise KeyRefusedError(
            "an API key in an address ends up in logs and histories: change it, and send it in the header "
            "'Authorization: Bearer KEY' or as the subprotocol 'key.KEY'"
        )


def refuse_unknown(given: Mapping[str, str], known: Sequence[str]) -> None:
    """ParameterError if there is a parameter of another name."""
    unknown = [name for name in given if name not in known]
    if unknown:
        raise ParameterError(f"there is no parameter {unknown[0][:40]!r}; there is {', '.join(known)}")


def integer(given: Mapping[str, str], name: str) -> int | None:
    """A parameter that is a positive integer; None if it is left out."""
    text = given.get(name)
    if text is None:
        return None
    if not _POSITIVE.fullmatch(text):
        raise ParameterError(f"{name} is a positive integer, got {text[:40]!r}")
    return int(text)


def _one_of(given: Mapping[str, str], name: str, known: Sequence[str], default: str) -> str:
    value = given.get(name, default)
    if value not in known:
        raise ParameterError(f"{name} is one of {', '.join(known)}; got {value[:40]!r}")
    return value


def _format(name: str, direction: str) -> str:
    known = [each for each in AUDIO_FORMATS if direction == "decode" or each != "opus"]
    if name not in known:
        raise AudioFormatError(f"format is one of {', '.join(known)} to {direction}; got {name[:40]!r}")
    return name
