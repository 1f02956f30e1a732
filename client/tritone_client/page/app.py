"""The page as a web application, and the command that runs it."""

import argparse
import os
from importlib.resources import files
from pathlib import Path
from socket import socket

import gradio as gr
import uvicorn
from fastapi import FastAPI

from tritone_client.page.blocks import page_of
from tritone_client.page.live import LivePlayer
from tritone_client.page.recordings import Recordings
from tritone_client.transport.addresses import Address

__all__ = ["application", "run"]

_LARGEST_FILE = "200mb"


def application(url: str | Path, metrics_url: str | None) -> FastAPI:
    """The page at ``/`` and its live player at ``/live``; ``url`` is a server's address or a repository."""
    app, recordings = FastAPI(), Recordings()
    app.add_api_websocket_route("/live", LivePlayer(recordings, url, metrics_url).__call__)
    script, style = (files(__package__).joinpath(name).read_text() for name in ("page.js", "page.css"))
    gr.mount_gradio_app(
        app,
        page_of(url, recordings),
        "/",
        head=f"<script>{script}</script>",
        css=style,
        max_file_size=_LARGEST_FILE,
        ssr_mode=False,
        footer_links=[],
    )
    return app


class _Server(uvicorn.Server):
    """Prints the page's address once the page can be opened."""

    async def startup(self, sockets: list[socket] | None = None) -> None:
        await super().startup(sockets)
        print(f"open http://{self.config.host}:{self.config.port}; Ctrl-C ends it", flush=True)


def run(options: argparse.Namespace) -> None:
    """Serve the page until interrupted."""
    os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
    if options.local:
        app = application(options.local, None)
    else:
        metrics = f"http://{options.metrics or Address.of(options.url).with_port(8002)}/metrics"
        app = application(options.url, metrics)
    _Server(uvicorn.Config(app, options.host, options.port, log_level="warning")).run()
