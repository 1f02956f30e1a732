"""Connections to our own servers, past any proxy; and the proxies, where others than ours are asked."""

import os
import urllib.request
from collections.abc import Sequence
from http.client import HTTPResponse
from typing import Any, cast
from urllib.parse import urlsplit

import grpc  # type: ignore[import-untyped]

__all__ = ["NO_PROXY", "channel_to", "environment_without_proxies", "opened", "proxies_named"]

NO_PROXY = ("grpc.enable_http_proxy", 0)
"""The option of a gRPC channel."""
_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def opened(url: str, timeout_s: float, body: bytes | None = None) -> HTTPResponse:
    """The answer to a GET, or to a POST of the body; a context manager.

    Raises:
        urllib.error.HTTPError: its status is an error.
        OSError: nobody answers, or not in time.
    """
    return cast(HTTPResponse, _OPENER.open(url, body, timeout_s))


def channel_to(url: str, options: Sequence[tuple[str, Any]] = ()) -> Any:
    """A gRPC channel in the clear."""
    return grpc.insecure_channel(url, [*options, NO_PROXY])


def environment_without_proxies() -> dict[str, str]:
    """For programs that ask our own servers."""
    return {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}


def proxies_named() -> str:
    """Words for a download that failed: which proxies the environment names, if any."""
    named = {name: url for name, url in urllib.request.getproxies().items() if name != "no"}
    if not named:
        return ""
    told = ", ".join(f"{kind} through {_without_password(url)}" for kind, url in sorted(named.items()))
    return f" (by the environment's proxies: {told})"


def _without_password(url: str) -> str:
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
