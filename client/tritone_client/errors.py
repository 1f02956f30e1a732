"""Errors of the client: one class per mistake, whether the caller, the server or the connection caused it."""

from collections.abc import Sequence

__all__ = [
    "AccessDeniedError",
    "AddressError",
    "AudioError",
    "AudioFormatError",
    "ChunkPlanError",
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
    "WholeUtterancesError",
    "WrongProtocolError",
]


class TritoneError(Exception):
    """Base of all errors that this package raises on purpose."""


class TokensError(TritoneError, ValueError):
    """The tokens cannot be decoded; nothing was sent.

    If a list of utterances was given, ``utterance`` is the index of the one that is wrong; otherwise None.
    """

    utterance: int | None = None


class AudioError(TritoneError, ValueError):
    """The audio cannot be encoded, or a file is not an audio file; nothing was sent.

    If a list of utterances was given, ``utterance`` is the index of the one that is wrong; otherwise None.
    """

    utterance: int | None = None


class AudioFormatError(AudioError):
    """There is no such type of samples, or no such rate of decoded audio; the message lists what there is."""


class ChunkPlanError(TritoneError, ValueError):
    """The sizes of the chunks of a stream are impossible; nothing was sent."""


class AddressError(TritoneError, ValueError):
    """A server's address has a form that gRPC does not understand; nothing was sent."""


class RepositoryError(TritoneError, ValueError):
    """A model repository cannot be used in this process.

    It is missing, incomplete, damaged, written by another version, or holds TensorRT engines.
    """


class UnknownCodecError(TritoneError, LookupError):
    """The server, or the model repository, does not have this codec; the message lists those it has."""

    def __init__(self, name: str, server: str, served: Sequence[str]):
        listed = ", ".join(served) or "none"
        super().__init__(f"{server} does not serve codec {name!r}; it serves: {listed}")


class ServerRefusedError(TritoneError, RuntimeError):
    """The server, or the model in this process, answered with an error; the message contains its text."""


class AccessDeniedError(ServerRefusedError):
    """The server, or the proxy in front of it, requires an API key, and it is missing or wrong."""


class ServerUnavailableError(TritoneError, ConnectionError):
    """No server answers, the connection broke, or the answer did not come in time."""


class ServerLostError(ServerUnavailableError):
    """The server lost the process of a model, or its answer does not belong to the request.

    The client used nothing of that answer. The server replaces the process within seconds; another server can
    take the request at once.
    """


class ServerSilentError(ServerUnavailableError):
    """The answer did not come in time."""


class WrongProtocolError(ServerUnavailableError):
    """The port speaks HTTP; or it expects TLS and the client does not use it, or the other way round."""


class ServerFullError(ServerUnavailableError):
    """The server, or the model in this process, has its maximum of live streams; one may end soon."""


class StreamLostError(ServerUnavailableError):
    """The stream no longer exists: it was idle for too long, or the server was restarted."""


class NoServerLeftError(ServerUnavailableError):
    """A stream failed over, but no server continued it within the deadline."""


class CodecNotOpenError(TritoneError, RuntimeError):
    """The codec is not open yet, was closed, or was opened in another event loop or process."""


class WholeUtterancesError(TritoneError, ValueError):
    """The model needs all of an utterance at once, so it has no live streams; nothing was sent."""


class StreamBusyError(TritoneError, RuntimeError):
    """Another call on the stream is under way. The stream goes on; nothing of this call was sent."""


class StreamClosedError(TritoneError, ValueError):
    """The stream was closed, or a request was interrupted; open another stream."""


class MissingExtraError(TritoneError, ImportError):
    """A package is needed that one of the client's extras installs; the message says which extra."""

    def __init__(self, need: str, extra: str = "audio"):
        super().__init__(f"{need} needs the {extra} extra: pip install 'tritone-client[{extra}]'")
