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

from tritone_client import AsyncCodec, Codec
from tritone_server.launcher import Ports, Traces, TritonServer

NAME = "small_nanocodec"


class Collector(HTTPServer):
    """Of OpenTelemetry's protocol over HTTP; ``spans`` are those that came."""

    spans: list[dict[str, Any]]


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
    with TritonServer(repository, [NAME], ports=Ports.free(), traces=traces) as server:
        with Codec(NAME, server.url) as codec:
            tokens = np.ones((codec.info.num_codebooks, 3), np.int64)
            codec.decode(tokens)  # outside of any trace
            with tracer.start_as_current_span("spoken") as span, codec.decode_stream() as stream:
                stream.push(tokens)

        async def whole() -> int:
            async with AsyncCodec(NAME, server.url) as codec:
                with tracer.start_as_current_span("whole") as span:
                    await codec.decode(tokens)
                    return span.get_span_context().trace_id

        traced = {f"{trace:032x}" for trace in (span.get_span_context().trace_id, asyncio.run(whole()))}

        def seen() -> dict[str, set[str]]:
            names: dict[str, set[str]] = {}
            for each in collector.spans:
                names.setdefault(each["traceId"], set()).add(each["name"])
            return names

        assert comes_true(lambda: traced <= set(seen()))
        assert all({"InferRequest", "compute"} <= seen()[trace] for trace in traced)
        assert any(f"{NAME}_decode_stream" in seen()[trace] for trace in traced)
        assert len(set(seen()) - traced) <= 1, "of the rest one in a million, the first"
