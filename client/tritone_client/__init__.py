"""Client of neural audio codecs served on Triton: numpy in, numpy out.

>>> from tritone_client import Codec
>>> with Codec("nanocodec", "127.0.0.1:8001") as codec:  # doctest: +SKIP
...     audio = codec.decode(tokens)
"""

from tritone_client.codec import Codec, served_codecs
from tritone_client.errors import (
    AudioError,
    MissingExtraError,
    ServerRefusedError,
    ServerUnavailableError,
    TokensError,
    TritoneError,
    UnknownCodecError,
)
from tritone_client.info import CodecInfo

__all__ = [
    "AudioError",
    "Codec",
    "CodecInfo",
    "MissingExtraError",
    "ServerRefusedError",
    "ServerUnavailableError",
    "TokensError",
    "TritoneError",
    "UnknownCodecError",
    "served_codecs",
]
