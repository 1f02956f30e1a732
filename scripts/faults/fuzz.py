"""Malformed requests by thousands to one server beside good streams: all answered, and nothing left of them.

Two traps of Triton 24.10 are left out, which end the server or fill its machine, and which only what stands
before it can keep away (docs/operations.md): the header ``triton_grpc_error``, and messages of gigabytes.
"""

import socket
import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from math import prod
from typing import Any

import grpc  # type: ignore[import-untyped]
from google.protobuf.message import DecodeError
from tritonclient.grpc import service_pb2, service_pb2_grpc

from scripts.common.memory import idle_mb
from scripts.common.report import Row
from scripts.faults.load_generator import (
    LoadGenerator,
    LoadResult,
    UtteranceSet,
    bystanders_row,
    seconds_until_idle,
)
from scripts.faults.malformed import Malformed, malformed_requests
from tritone_client import Codec, Resume
from tritone_server.direct import channel_to
from tritone_server.launcher import TritonServer
from tritone_server.smoke import SmokeError, smoke

__all__ = ["Answers", "fuzz_rows"]

_WARM_UP, _PLACES, _SENDERS, _WITHIN_S, _FORGOTTEN_S = 1000, 4, 4, 60.0, 60.0
_MOST_GROWTH, _SHOWN, _KEPT_FRAMES = 1.0, 3, (1, 2, 4, 8, 16)
_SERVICE = "/inference.GRPCInferenceService"
_LOST = ("DEADLINE_EXCEEDED", "CANCELLED", "UNKNOWN")
_WORDS_OF_UNAVAILABLE = ("full", "restricted", "timeout")
"""Else it is gRPC's word for a connection that broke."""
_BYTES = {"INT64": 8, "FP32": 4}


@dataclass
class Answers:
    """What came back, by status; ``improper`` is what was no answer."""

    by_status: Counter[str] = field(default_factory=Counter)
    improper: list[str] = field(default_factory=list)

    def add(self, status: str, said: str = "", proper: bool = True) -> None:
        """One more."""
        self.by_status[status] += 1
        if not proper:
            self.improper.append(f"{status} {said}")

    @property
    def told(self) -> str:
        """How many of each."""
        return ", ".join(f"{status} {count}" for status, count in self.by_status.most_common())


def fuzz_rows(server: TritonServer, spoken: Mapping[str, UtteranceSet], count: int) -> list[Row]:
    """Send them while four good streams go on, a first part to fill caches; then see what is left."""
    _fill(server, spoken)
    requests = malformed_requests(_metadata(server), count)
    warm = min(_WARM_UP, count // 2)
    answers, checked = Answers(), LoadResult()
    before = _after(server, spoken, requests[:warm], answers, checked)
    grown = 100 * (_after(server, spoken, requests[warm:], answers, checked) / before - 1)
    broken = _broken(server)
    improper = answers.improper + broken
    refused = sum(answers.by_status.values()) - answers.by_status["answered"]
    how = f"{count} requests, each within {_WITHIN_S:g} s: {answers.told}"
    shown = "; ".join(improper[:_SHOWN]) or "server alive, every model answers"
    without = "without the header triton_grpc_error, and messages of gigabytes"
    return [
        Row("all", "fuzz_refused", refused, "requests", "all answered", not improper, how),
        Row("all", "fuzz_improper", len(improper), "answers", "0", not improper, f"{shown}; {without}"),
        Row(
            *("all", "fuzz_memory", grown, "%", f"< {_MOST_GROWTH:g}", grown < _MOST_GROWTH),
            f"of {before:.0f} MB at rest after the first {warm}, {count - warm} requests later",
        ),
        bystanders_row("fuzz_lost", checked),
    ]


def _fill(server: TritonServer, spoken: Mapping[str, UtteranceSet]) -> None:
    """Steps of all sizes whose working memory a server keeps for the next one."""
    for codec, each in spoken.items():
        with Codec(codec, server.url) as client:
            for frames in _KEPT_FRAMES:
                with client.decode_stream() as decoding:
                    decoding.push(each.tokens[:, :frames])
                with client.encode_stream(client.info.sample_rate_hz) as encoding:
                    encoding.push(each.whole[: frames * client.info.samples_per_frame])


def _metadata(server: TritonServer) -> list[Any]:
    """Of all models that it has, those within an ensemble too."""
    with channel_to(server.url) as channel:
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        index = stub.RepositoryIndex(service_pb2.RepositoryIndexRequest(ready=True))
        return [stub.ModelMetadata(service_pb2.ModelMetadataRequest(name=each.name)) for each in index.models]


def _after(
    server: TritonServer,
    spoken: Mapping[str, UtteranceSet],
    requests: Sequence[Malformed],
    answers: Answers,
    checked: LoadResult,
) -> float:
    """Memory in MB once they are answered, and no stream is live any more."""
    with LoadGenerator(spoken, [server.url], _PLACES, Resume(), checked), _Sender(server, answers) as sender:
        sender.send(requests)
    seconds_until_idle(server, _FORGOTTEN_S)
    return idle_mb(server.pid)


def _broken(server: TritonServer) -> list[str]:
    """What does not work now; readiness would not tell, Triton says it of models whose process has ended."""
    if not server.running:
        return ["the server has ended"]
    try:
        smoke(server.url, server.models(), lambda _: None)
    except SmokeError as error:
        return [str(error)]
    return []


class _Sender:
    """Sends bytes as they are, some at a time, each sender on a connection of its own."""

    def __init__(self, server: TritonServer, answers: Answers):
        self._server, self._answers = server, answers
        self._own, self._lock = threading.local(), threading.Lock()
        self._pool = ThreadPoolExecutor(_SENDERS)

    def __enter__(self) -> "_Sender":
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown()

    def send(self, requests: Sequence[Malformed]) -> None:
        """All of them; until they are answered."""
        list(self._pool.map(self._sent, requests))

    def _sent(self, request: Malformed) -> None:
        ways = {"unary": self._unary, "stream": self._stream, "http": self._http}
        try:
            found = ways[request.way](request.sent)
        except grpc.RpcError as error:
            found = [_of_error(error)]
        except OSError as error:
            found = [("no connection", str(error), False)]
        with self._lock:
            for status, said, proper in found:
                self._answers.add(status, said, proper)

    def _call(self, kind: str, method: str) -> Any:
        """A method of the service for bytes that nobody looks at."""
        if not hasattr(self._own, "channel"):
            self._own.channel = channel_to(self._server.url)
        return getattr(self._own.channel, kind)(f"{_SERVICE}/{method}", bytes, bytes)

    def _unary(self, sent: Sequence[bytes]) -> list[tuple[str, str, bool]]:
        answer = self._call("unary_unary", "ModelInfer")(sent[0], timeout=_WITHIN_S)
        try:
            return [_fitting(service_pb2.ModelInferResponse.FromString(answer))]
        except DecodeError as error:
            return [("answered", str(error), False)]

    def _stream(self, sent: Sequence[bytes]) -> list[tuple[str, str, bool]]:
        found = []
        for answer in self._call("stream_stream", "ModelStreamInfer")(iter(sent), timeout=_WITHIN_S):
            message = service_pb2.ModelStreamInferResponse.FromString(answer)
            if message.error_message:
                found.append(("refused in the stream", *_judged(message.error_message)))
            else:
                found.append(_fitting(message.infer_response))
        # What cannot be parsed ends the stream, without a word.
        return found if len(found) == len(sent) else [*found, ("stream ended", "", True)]

    def _http(self, sent: Sequence[bytes]) -> list[tuple[str, str, bool]]:
        address = (self._server.host, self._server.ports.http)
        with socket.create_connection(address, _WITHIN_S) as peer:
            peer.sendall(sent[0])
            peer.shutdown(socket.SHUT_WR)
            try:
                line = peer.makefile("rb").readline(1000).decode(errors="replace")
            except TimeoutError:
                return [("HTTP", "no answer", False)]
            except ConnectionResetError:
                line = ""
        if not line:
            return [("HTTP hung up", "", True)]
        return [(f"HTTP {line.split()[1]}", line, line.startswith("HTTP/1."))]


def _of_error(error: grpc.RpcError) -> tuple[str, str, bool]:
    status, said = error.code().name, error.details() or ""
    known = any(word in said for word in _WORDS_OF_UNAVAILABLE)
    proper = status not in _LOST and (status != "UNAVAILABLE" or known)
    return status, said, proper and _judged(said)[1]


def _judged(said: str) -> tuple[str, bool]:
    """A model whose process has ended answers too."""
    return said, bool(said) and "not healthy" not in said


def _fitting(response: Any) -> tuple[str, str, bool]:
    """Whether it holds what it says that it holds."""
    sizes = [len(data) for data in response.raw_output_contents]
    claimed = [prod(each.shape) * _BYTES.get(each.datatype, 0) for each in response.outputs]
    fits = len(sizes) == len(claimed) and all(map(_equal, claimed, sizes))
    return "answered", f"{sizes} bytes for {claimed}", fits


def _equal(claimed: int, size: int) -> bool:
    """Or of a type whose elements have no fixed size."""
    return claimed in {0, size}
