"""Connections to our own servers, which bypass proxies, and the proxies that downloads use."""

import os
import urllib.request
from collections.abc import Sequence
from http.client import HTTPResponse
from typing import Any, cast
from urllib.parse import urlsplit

import grpc  # type: ignore[import-untyped]

__all__ = ["NO_PROXY", "channel_to", "environment_without_proxies", "opened", "proxies_named"]

NO_PROXY = ("grpc.enable_http_proxy", 0)
"""The gRPC channel option that turns proxies off."""
_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def opened(url: str, timeout_s: float, body: bytes | None = None) -> HTTPResponse:
    """The response to a GET request, or to a POST request if there is a body; a context manager.

    Raises:
        urllib.error.HTTPError: the response has an error status.
        OSError: the connection failed, or the timeout passed.
    """
    return cast(HTTPResponse, _OPENER.open(url, body, timeout_s))


def channel_to(url: str, options: Sequence[tuple[str, Any]] = ()) -> Any:
    """A gRPC channel without encryption and without a proxy."""
    return grpc.insecure_channel(url, [*options, NO_PROXY])


def environment_without_proxies() -> dict[str, str]:
    """Environment variables without those of proxies, for programs that connect to our own servers."""
    return {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}


def proxies_named() -> str:
    """The proxies that the environment names, as text for the error of a failed download; may be empty."""
    named = {name: url for name, url in urllib.request.getproxies().items() if name != "no"}
    if not named:
        return ""
    formatted = ", ".join(f"{kind} through {_without_password(url)}" for kind, url in sorted(named.items()))
    return f" (with the environment's proxies: {formatted})"


def _without_password(url: str) -> str:
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
