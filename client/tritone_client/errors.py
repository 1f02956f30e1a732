"""What can go wrong, told apart by whose fault it is: the caller's, the server's, the connection's."""

from collections.abc import Sequence

__all__ = [
    "AccessDeniedError",
    "AddressError",
    "AudioError",
    "CodecNotOpenError",
    "MissingExtraError",
    "NoServerLeftError",
    "RepositoryError",
    "ServerFullError",
    "ServerLostError",
    "ServerRefusedError",
    "ServerSilentError",
    "ServerUnavailableError",
    "StreamBusyError",
    "StreamClosedError",
    "StreamLostError",
    "TokensError",
    "TritoneError",
    "UnknownCodecError",
    "WrongProtocolError",
]


class TritoneError(Exception):
    """Base of every error this package raises on purpose."""


class TokensError(TritoneError, ValueError):
    """The tokens cannot be decoded; nothing was sent. ``utterance`` is its index where there were several."""

    utterance: int | None = None


class AudioError(TritoneError, ValueError):
    """The audio cannot be encoded, or a file is no audio; nothing was sent. ``utterance`` as above."""

    utterance: int | None = None


class AddressError(TritoneError, ValueError):
    """A server's address is not of a form that gRPC understands; nothing was sent."""


class RepositoryError(TritoneError, ValueError):
    """A repository cannot be used: it is missing, half built, damaged, or of another version."""


class UnknownCodecError(TritoneError, LookupError):
    """The server does not serve that codec."""

    def __init__(self, name: str, server: str, served: Sequence[str]):
        listed = ", ".join(served) or "none"
        super().__init__(f"{server} does not serve codec {name!r}; it serves: {listed}")


class ServerRefusedError(TritoneError, RuntimeError):
    """The server answered with an error; the message is the server's."""


class AccessDeniedError(ServerRefusedError):
    """The server, or the proxy in front of it, wants an API key, or a right one."""


class ServerUnavailableError(TritoneError, ConnectionError):
    """No server answers, or the connection broke, or the answer did not come in time."""


class ServerLostError(ServerUnavailableError):
    """The server lost the process of a model, or gave an answer that is not to this request.

    Nothing of that answer was used. The process is replaced within seconds; another server can go on at once.
    """


class ServerSilentError(ServerUnavailableError):
    """The answer did not come in time."""


class WrongProtocolError(ServerUnavailableError):
    """What listens there speaks HTTP, or expects encryption, or does not."""


class ServerFullError(ServerUnavailableError):
    """The server has as many live streams as it takes; one may be free a moment later."""


class StreamLostError(ServerUnavailableError):
    """The server no longer knows the stream: it was idle for too long, or the server was restarted."""


class NoServerLeftError(ServerUnavailableError):
    """A stream that was to outlive its server found no other one in time."""


class CodecNotOpenError(TritoneError, RuntimeError):
    """The codec is not open here: not yet, no longer, or in another event loop or process."""


class StreamBusyError(TritoneError, RuntimeError):
    """Another call is under way on the stream, which goes on; nothing of this call was sent."""


class StreamClosedError(TritoneError, ValueError):
    """The stream was closed, or left in the middle of a request; open another one."""


class MissingExtraError(TritoneError, ImportError):
    """A package of an extra is needed and not installed."""

    def __init__(self, need: str, extra: str = "audio"):
        super().__init__(f"{need} needs the {extra} extra: pip install 'tritone-client[{extra}]'")
