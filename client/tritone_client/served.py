"""The ways to the places where models run, and the codecs that are served there."""

from pathlib import Path
from typing import Any

from tritone_client.codec_base import local_module
from tritone_client.codec_models import codecs_of, endpoints
from tritone_client.errors import ServerUnavailableError
from tritone_client.transport.access import Access
from tritone_client.transport.tls import Tls

__all__ = ["served_codecs", "transport_to"]


def transport_to(url: str | Path, timeout_s: float, access: Access, device: str | None = None) -> Any:
    """The transport to a server, or to models in this process; each imports only what it needs itself."""
    if isinstance(url, Path):
        return local_module().LocalTransport(url, device)
    from tritone_client.transport.grpc_transport import Transport

    return Transport(url, timeout_s, access)


def served_codecs(
    url: str | Path = "127.0.0.1:8001",
    timeout_s: float = 10.0,
    tls: Tls | None = None,
    api_key: str | None = None,
) -> list[str]:
    """Names of the codecs that a server serves, or that a model repository (a ``Path``) holds, sorted.

    Arguments and errors as of :class:`Codec`; RepositoryError if the folder holds no models.
    """
    (address,) = endpoints(url)
    transport = transport_to(address, timeout_s, Access(tls, api_key).checked([address]))
    try:
        return codecs_of(transport.ready_models())
    except ServerUnavailableError as error:
        raise transport.explained(error) from error.__cause__
    finally:
        transport.close()
