"""A client's trace goes on in the server, which tells a collector what each request waited for."""

import asyncio
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.servers.raw import comes_true
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import Span

from tritone_client import AsyncCodec, Codec
from tritone_server.launcher import Ports, Traces, TritonServer

NAME = "small_nanocodec"


class Collector(HTTPServer):
    """Of OpenTelemetry's protocol over HTTP; ``spans`` are those that came."""

    spans: list[dict[str, Any]]

    def seen(self) -> dict[str, set[str]]:
        """Names of the spans of each trace."""
        names: dict[str, set[str]] = {}
        for each in list(self.spans):
            names.setdefault(each["traceId"], set()).add(each["name"])
        return names


class _Taking(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        assert isinstance(self.server, Collector)
        told = json.loads(self.rfile.read(int(self.headers["content-length"])))
        for resource in told["resourceSpans"]:
            for scope in resource["scopeSpans"]:
                self.server.spans += scope["spans"]
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def collector() -> Iterator[Collector]:
    with Collector(("127.0.0.1", 0), _Taking) as running:
        running.spans = []
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield running
        running.shutdown()


def test_what_a_client_does_within_a_trace_is_in_it(repository: Path, collector: Collector) -> None:
    traces = Traces(f"http://127.0.0.1:{collector.server_port}/v1/traces", one_in=1_000_000)
    tracer = TracerProvider().get_tracer("test")
    tokens, traced = np.ones((4, 3), np.int64), set[str]()
    with (
        TritonServer(repository, [NAME], ports=Ports.free(), traces=traces) as server,
        Codec(NAME, server.url) as codec,
    ):
        codec.decode(tokens)  # outside of any trace

        async def whole() -> str:
            async with AsyncCodec(NAME, server.url) as codec:
                with tracer.start_as_current_span("whole") as span:
                    await codec.decode(tokens)
                    return trace_of(span)

        def both_arrive() -> bool:
            """Ask again each time, since the server drops spans that it cannot send at once."""
            with tracer.start_as_current_span("spoken") as span, codec.decode_stream() as stream:
                stream.push(tokens)
            traced.update((trace_of(span), asyncio.run(whole())))
            complete = [names for names in collector.seen().values() if {"InferRequest", "compute"} <= names]
            streams = [names for names in complete if f"{NAME}_decode_stream" in names]
            return 0 < len(streams) < len(complete)

        assert comes_true(both_arrive)
        assert len(set(collector.seen()) - traced) <= 1, "of the rest one in a million, the first"


def trace_of(span: Span) -> str:
    return f"{span.get_span_context().trace_id:032x}"
