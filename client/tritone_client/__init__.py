"""Client of neural audio codecs, on a Triton server or in this process: NumPy arrays in, NumPy arrays out.

>>> from tritone_client import Codec
>>> with Codec("nanocodec", "127.0.0.1:8001") as codec:  # doctest: +SKIP
...     audio = codec.decode(tokens)
"""

from tritone_client.aio import AsyncCodec, AsyncStream
from tritone_client.codec import Codec
from tritone_client.errors import (
    AccessDeniedError,
    AddressError,
    AudioError,
    AudioFormatError,
    ChunkPlanError,
    CodecNotOpenError,
    MissingExtraError,
    NoServerLeftError,
    RepositoryError,
    ServerFullError,
    ServerLostError,
    ServerRefusedError,
    ServerSilentError,
    ServerUnavailableError,
    StreamBusyError,
    StreamClosedError,
    StreamLostError,
    TokensError,
    TritoneError,
    UnknownCodecError,
    WholeUtterancesError,
    WrongProtocolError,
)
from tritone_client.info import CodecInfo, StreamInfo
from tritone_client.served import served_codecs
from tritone_client.streams.failover import Resume, Resumption
from tritone_client.streams.stream import Stream
from tritone_client.transport.tls import Tls

__all__ = [
    "AccessDeniedError",
    "AddressError",
    "AsyncCodec",
    "AsyncStream",
    "AudioError",
    "AudioFormatError",
    "ChunkPlanError",
    "Codec",
    "CodecInfo",
    "CodecNotOpenError",
    "MissingExtraError",
    "NoServerLeftError",
    "RepositoryError",
    "Resume",
    "Resumption",
    "ServerFullError",
    "ServerLostError",
    "ServerRefusedError",
    "ServerSilentError",
    "ServerUnavailableError",
    "Stream",
    "StreamBusyError",
    "StreamClosedError",
    "StreamInfo",
    "StreamLostError",
    "Tls",
    "TokensError",
    "TritoneError",
    "UnknownCodecError",
    "WholeUtterancesError",
    "WrongProtocolError",
    "served_codecs",
]
