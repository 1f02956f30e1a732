"""What a gateway says of itself: its codecs, its health, its figures, and its pages."""

import json
from importlib.resources import files
from typing import Any

from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response

from tritone_client.errors import TritoneError
from tritone_client.gateway.failures import ClosingError
from tritone_client.gateway.sockets.query import refuse_keys
from tritone_client.gateway.state import Gateway

__all__ = ["codecs", "demo", "live", "metrics", "openapi", "ready", "reference", "script"]

_WEB = files("tritone_client.gateway").joinpath("web")
_FACTS = (
    *("name", "sample_rate_hz", "encode_sample_rate_hz", "num_channels", "frame_rate_hz", "bitrate_bps"),
    *("num_codebooks", "min_codebooks", "default_codebooks", "codebook_size", "min_frames", "min_samples"),
)


async def codecs(request: Request) -> Response:
    """Facts of each codec."""
    gateway: Gateway = request.app.state.gateway
    refuse_keys(request.query_params)
    gateway.keys.holder(request.headers)
    found: list[dict[str, Any]] = []
    for name in await gateway.codecs.names():
        codec = await gateway.codecs.open(name)
        facts = {fact: getattr(codec.info, fact) for fact in _FACTS}
        found.append(facts | {"streams": codec.stream_info is not None})
    return JSONResponse({"codecs": found})


async def live(_: Request) -> Response:
    """The process answers."""
    return PlainTextResponse("live\n")


async def ready(request: Request) -> Response:
    """There is a codec, and the gateway is not about to stop."""
    gateway: Gateway = request.app.state.gateway
    try:
        if gateway.draining:
            raise ClosingError("the gateway is about to stop")
        names = await gateway.codecs.names()
    except TritoneError as error:
        return PlainTextResponse(f"{error}\n", 503)
    return PlainTextResponse(f"{', '.join(names)}\n" if names else "no codec\n", 200 if names else 503)


async def metrics(request: Request) -> Response:
    """The gateway's own figures; those of the server are the server's to tell."""
    gateway: Gateway = request.app.state.gateway
    text = gateway.metrics.text({"sockets_live": gateway.sockets.taken})
    return PlainTextResponse(text, media_type="text/plain; version=0.0.4")


async def demo(_: Request) -> Response:
    """A page that plays a stream."""
    return HTMLResponse(_WEB.joinpath("demo.html").read_text())


async def script(_: Request) -> Response:
    """The program of that page."""
    return Response(_WEB.joinpath("demo.js").read_text(), media_type="text/javascript")


async def reference(_: Request) -> Response:
    """A page that lists what there is."""
    return HTMLResponse(_WEB.joinpath("reference.html").read_text())


async def openapi(_: Request) -> Response:
    """The description that programs read."""
    return JSONResponse(json.loads(_WEB.joinpath("openapi.json").read_text()))
