"""The gateway as a web application."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route, WebSocketRoute

from tritone_client.errors import TritoneError
from tritone_client.gateway import facts, whole
from tritone_client.gateway.settings import Settings
from tritone_client.gateway.sockets.live import serve_socket
from tritone_client.gateway.state import Gateway

__all__ = ["application"]


def application(settings: Settings) -> Starlette:
    """The application of a gateway; while it runs, ``state.gateway`` is a :class:`Gateway`."""

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        app.state.gateway = Gateway(settings)
        try:
            yield
        finally:
            await app.state.gateway.codecs.close()

    routes = [
        WebSocketRoute("/v1/stream", serve_socket),
        Route("/v1/decode", whole.decode, methods=["POST"]),
        Route("/v1/encode", whole.encode, methods=["POST"]),
        Route("/v1/codecs", facts.codecs),
        Route("/health/live", facts.live),
        Route("/health/ready", facts.ready),
        Route("/metrics", facts.metrics),
        Route("/openapi.json", facts.openapi),
        Route("/docs", facts.reference),
        Route("/demo.js", facts.script),
        Route("/", facts.demo),
    ]
    handlers = {TritoneError: _failed, HTTPException: _no_such_request, Exception: _failed}
    return Starlette(routes=routes, lifespan=lifespan, exception_handlers=handlers)


async def _no_such_request(request: Request, error: Exception) -> Response:
    status = getattr(error, "status_code", 404)
    message = f"there is no {request.method} {request.url.path[:80]}; /docs lists the requests there are"
    return JSONResponse({"error": {"type": "RequestError", "message": message}}, status)


async def _failed(request: Request, error: Exception) -> Response:
    failure = request.app.state.gateway.failure(error)
    headers = {"WWW-Authenticate": "Bearer"} if failure.status == 401 else {}  # noqa: PLR2004
    if failure.status == 503:  # noqa: PLR2004
        headers["Retry-After"] = "1"
    if failure.status == 413:  # noqa: PLR2004
        headers["Connection"] = "close"
    return JSONResponse(failure.json, failure.status, headers)
