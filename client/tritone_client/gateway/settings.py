"""What a gateway is told when it starts: where its codecs run, who may use them, and how much."""

from dataclasses import dataclass, field, fields
from pathlib import Path

from tritone_client.gateway.failures import SettingsError
from tritone_client.transport.tls import Tls

__all__ = ["Limits", "Settings"]


@dataclass(frozen=True)
class Limits:
    """Limits of a gateway; each is a positive number.

    Attributes:
        sockets: most live sockets.
        sockets_per_key: most live sockets of one API key.
        requests: most whole files at a time.
        body_bytes: most bytes in the body of a request.
        message_bytes: most bytes in a message of a socket.
        waiting_bytes: most bytes of a socket's messages that wait for their turn; then it is not read.
        audio_s: longest whole file, in seconds of audio.
        lead_s: by how many seconds of audio a stream may be ahead of real time; then it waits.
        send_s: how long a socket may leave what it is sent unread.
        idle_s: how long a socket may send nothing although it is waited for.
        drain_s: how long live sockets may go on after the gateway was told to stop.
    """

    sockets: int = 256
    sockets_per_key: int = 256
    requests: int = 16
    body_bytes: int = 32_000_000
    message_bytes: int = 1_000_000
    waiting_bytes: int = 256_000
    audio_s: float = 600.0
    lead_s: float = 30.0
    send_s: float = 10.0
    idle_s: float = 60.0
    drain_s: float = 10.0

    def __post_init__(self) -> None:
        for each in fields(self):
            if not getattr(self, each.name) > 0:
                raise SettingsError(f"{each.name} is a positive number, got {getattr(self, each.name)!r}")


@dataclass(frozen=True)
class Settings:
    """A gateway; ``url``, ``tls``, ``api_key`` and ``device`` are as of :class:`tritone_client.Codec`.

    Attributes:
        keys: API keys, one of which each request must bring; empty if none is needed.
        limits: what a client may use.
    """

    url: str | Path = "127.0.0.1:8001"
    tls: Tls | None = None
    api_key: str | None = None
    device: str | None = None
    keys: tuple[str, ...] = ()
    limits: Limits = field(default_factory=Limits)
