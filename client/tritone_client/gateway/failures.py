"""Errors of the gateway, and how clients are told of any error: HTTP status, close code, type and message."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tritone_client.errors import (
    AudioError,
    AudioFormatError,
    ChunkPlanError,
    CodecNotOpenError,
    MissingExtraError,
    RepositoryError,
    ServerRefusedError,
    ServerUnavailableError,
    TokensError,
    TritoneError,
    UnknownCodecError,
    WholeUtterancesError,
)

__all__ = [
    "AcceptError",
    "ClosingError",
    "Failure",
    "IdleError",
    "KeyRefusedError",
    "LimitError",
    "MessageError",
    "ParameterError",
    "SettingsError",
    "SlowReaderError",
    "TooLargeError",
    "failure_of",
]

_GOING_AWAY, _UNSUPPORTED, _BAD_DATA, _POLICY, _TOO_BIG, _INTERNAL, _LATER = (
    *(1001, 1003, 1007),
    *(1008, 1009, 1011, 1013),
)
_MOST_REASON = 120
"""Bytes of a close frame's reason; the protocol allows 123."""


class SettingsError(TritoneError, ValueError):
    """The gateway cannot be started like this."""


class ParameterError(TritoneError, ValueError):
    """A parameter of the request is unknown, missing or wrong."""


class MessageError(TritoneError, ValueError):
    """A message of a socket has the wrong kind, or does not say what the gateway understands."""


class TooLargeError(TritoneError, ValueError):
    """A body, or the audio in it, is larger than the gateway takes; it was not read to its end."""


class AcceptError(TritoneError, ValueError):
    """The request accepts no format that the gateway can answer in."""


class KeyRefusedError(TritoneError, PermissionError):
    """The API key is missing, wrong, or in a place where others can read it."""


class LimitError(TritoneError, RuntimeError):
    """As many sockets or requests as allowed are live; one may end soon."""


class SlowReaderError(TritoneError, TimeoutError):
    """The client did not read what it was sent."""


class IdleError(TritoneError, TimeoutError):
    """The client sent nothing for too long."""


class ClosingError(TritoneError, ConnectionError):
    """The gateway is about to stop."""


_KINDS: Sequence[tuple[type[TritoneError], int, int]] = (
    (KeyRefusedError, 401, _POLICY),
    (UnknownCodecError, 404, _POLICY),
    (AcceptError, 406, _POLICY),
    (IdleError, 408, _POLICY),
    (SlowReaderError, 408, _POLICY),
    (TooLargeError, 413, _TOO_BIG),
    (LimitError, 503, _LATER),
    (ClosingError, 503, _GOING_AWAY),
    (ParameterError, 400, _POLICY),
    (AudioFormatError, 400, _POLICY),
    (ChunkPlanError, 400, _POLICY),
    (WholeUtterancesError, 400, _POLICY),
    (MessageError, 400, _UNSUPPORTED),
    (TokensError, 400, _BAD_DATA),
    (AudioError, 400, _BAD_DATA),
    (MissingExtraError, 501, _INTERNAL),
    (CodecNotOpenError, 503, _LATER),
    (RepositoryError, 503, _LATER),
    (ServerUnavailableError, 503, _LATER),
    (ServerRefusedError, 502, _INTERNAL),
)
"""HTTP status and close code of each class of errors; the first that fits counts."""


@dataclass(frozen=True)
class Failure:
    """What a client is told of an error."""

    kind: str
    message: str
    status: int
    close_code: int

    @property
    def json(self) -> dict[str, Any]:
        """For the body of a response, or a message of a socket."""
        return {"error": {"type": self.kind, "message": self.message}}

    @property
    def reason(self) -> str:
        """The message, as short as a close frame needs it."""
        return self.message.encode()[:_MOST_REASON].decode(errors="ignore")


def failure_of(error: Exception) -> Failure:
    """What clients are told; of errors that are nobody's mistake but ours, only that they happened."""
    for kind, status, code in _KINDS:
        if isinstance(error, kind):
            sendable = str(error).encode(errors="backslashreplace").decode()  # JSON may hold half a character
            return Failure(type(error).__name__, sendable, status, code)
    return Failure("InternalError", "the gateway failed; its log tells how", 500, _INTERNAL)
