"""Send thousands of malformed requests to a server beside good streams; all must be answered.

The server must not keep any memory for them. Two attacks on Triton 24.10 are left out, since they end the
server or fill the machine, and only a proxy in front of it keeps them away (docs/operations.md): the header
``triton_grpc_error``, and messages of gigabytes.
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

_WARM_UP, _PLACES, _SENDERS, _TIMEOUT_S, _IDLE_LIMIT_S = 1000, 4, 4, 60.0, 60.0
_MAX_GROWTH_PERCENT, _SHOWN, _STEP_FRAMES = 1.0, 3, (1, 2, 4, 8, 16)
_SERVICE = "/inference.GRPCInferenceService"
_NO_ANSWER = ("DEADLINE_EXCEEDED", "CANCELLED", "UNKNOWN")
_UNAVAILABLE_WORDS = ("full", "restricted", "timeout")
"""One of these is in the message if the server sent UNAVAILABLE; without them the connection broke."""
_BYTES = {"INT64": 8, "FP32": 4}


@dataclass
class Answers:
    """How many answers came back by status; ``improper`` lists those that are no proper answer."""

    by_status: Counter[str] = field(default_factory=Counter)
    improper: list[str] = field(default_factory=list)

    def add(self, status: str, message: str = "", proper: bool = True) -> None:
        """Count an answer."""
        self.by_status[status] += 1
        if not proper:
            self.improper.append(f"{status} {message}")

    @property
    def formatted(self) -> str:
        """The number of answers by status, on one line."""
        return ", ".join(f"{status} {count}" for status, count in self.by_status.most_common())


def fuzz_rows(server: TritonServer, utterances: Mapping[str, UtteranceSet], count: int) -> list[Row]:
    """Send ``count`` malformed requests while four good streams run; a first part of them fills caches."""
    _fill(server, utterances)
    requests = malformed_requests(_metadata(server), count)
    warm = min(_WARM_UP, count // 2)
    answers, result = Answers(), LoadResult()
    before = _send_all(server, utterances, requests[:warm], answers, result)
    grown = 100 * (_send_all(server, utterances, requests[warm:], answers, result) / before - 1)
    broken = _defects(server)
    improper = answers.improper + broken
    refused = sum(answers.by_status.values()) - answers.by_status["answered"]
    how = f"{count} requests, each within {_TIMEOUT_S:g} s: {answers.formatted}"
    shown = "; ".join(improper[:_SHOWN]) or "server alive, every model answers"
    without = "without the header triton_grpc_error, and messages of gigabytes"
    return [
        Row("all", "fuzz_refused", refused, "requests", "all answered", not improper, how),
        Row("all", "fuzz_improper", len(improper), "answers", "0", not improper, f"{shown}; {without}"),
        Row(
            *("all", "fuzz_memory", grown, "%", f"< {_MAX_GROWTH_PERCENT:g}", grown < _MAX_GROWTH_PERCENT),
            f"of {before:.0f} MB at rest after the first {warm}, {count - warm} requests later",
        ),
        bystanders_row("fuzz_lost", result),
    ]


def _fill(server: TritonServer, utterances: Mapping[str, UtteranceSet]) -> None:
    """Run a step of each size whose working memory a server keeps, so that it does not count as growth."""
    for codec, each in utterances.items():
        with Codec(codec, server.url) as client:
            for frames in _STEP_FRAMES:
                with client.decode_stream() as decoding:
                    decoding.push(each.tokens[:, :frames])
                with client.encode_stream(client.info.encode_sample_rate_hz) as encoding:
                    encoding.push(each.whole[: frames * client.info.encode_samples_per_frame])


def _metadata(server: TritonServer) -> list[Any]:
    """Metadata of all models on the server, those inside an ensemble included."""
    with channel_to(server.url) as channel:
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        index = stub.RepositoryIndex(service_pb2.RepositoryIndexRequest(ready=True))
        return [stub.ModelMetadata(service_pb2.ModelMetadataRequest(name=each.name)) for each in index.models]


def _send_all(
    server: TritonServer,
    utterances: Mapping[str, UtteranceSet],
    requests: Sequence[Malformed],
    answers: Answers,
    result: LoadResult,
) -> float:
    """Send the requests beside good streams; return the memory in MB when no stream is live any more."""
    with (
        LoadGenerator(utterances, [server.url], _PLACES, Resume(), result),
        _Sender(server, answers) as sender,
    ):
        sender.send(requests)
    seconds_until_idle(server, _IDLE_LIMIT_S)
    return idle_mb(server.pid)


def _defects(server: TritonServer) -> list[str]:
    """What no longer works, found by requests: Triton calls a model ready even if its process has ended."""
    if not server.running:
        return ["the server has ended"]
    try:
        smoke(server.url, server.models(), lambda _: None)
    except SmokeError as error:
        return [str(error)]
    return []


class _Sender:
    """Sends bytes as they are, from several threads with a connection each."""

    def __init__(self, server: TritonServer, answers: Answers):
        self._server, self._answers = server, answers
        self._own, self._lock = threading.local(), threading.Lock()
        self._pool = ThreadPoolExecutor(_SENDERS)

    def __enter__(self) -> "_Sender":
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown()

    def send(self, requests: Sequence[Malformed]) -> None:
        """Send the requests and wait until all are answered."""
        list(self._pool.map(self._send_one, requests))

    def _send_one(self, request: Malformed) -> None:
        senders = {"unary": self._unary, "stream": self._stream, "http": self._http}
        try:
            found = senders[request.transport](request.messages)
        except grpc.RpcError as error:
            found = [_judge_error(error)]
        except OSError as error:
            found = [("no connection", str(error), False)]
        with self._lock:
            for status, message, proper in found:
                self._answers.add(status, message, proper)

    def _call(self, kind: str, method: str) -> Any:
        """A method of the inference service that takes and returns unparsed bytes."""
        if not hasattr(self._own, "channel"):
            self._own.channel = channel_to(self._server.url)
        return getattr(self._own.channel, kind)(f"{_SERVICE}/{method}", bytes, bytes)

    def _unary(self, messages: Sequence[bytes]) -> list[tuple[str, str, bool]]:
        answer = self._call("unary_unary", "ModelInfer")(messages[0], timeout=_TIMEOUT_S)
        try:
            return [_judge_response(service_pb2.ModelInferResponse.FromString(answer))]
        except DecodeError as error:
            return [("answered", str(error), False)]

    def _stream(self, messages: Sequence[bytes]) -> list[tuple[str, str, bool]]:
        found = []
        for answer in self._call("stream_stream", "ModelStreamInfer")(iter(messages), timeout=_TIMEOUT_S):
            message = service_pb2.ModelStreamInferResponse.FromString(answer)
            if message.error_message:
                found.append(("refused in the stream", *_judge_message(message.error_message)))
            else:
                found.append(_judge_response(message.infer_response))
        # A message that cannot be parsed ends the stream without an answer.
        return found if len(found) == len(messages) else [*found, ("stream ended", "", True)]

    def _http(self, messages: Sequence[bytes]) -> list[tuple[str, str, bool]]:
        address = (self._server.host, self._server.ports.http)
        with socket.create_connection(address, _TIMEOUT_S) as peer:
            peer.sendall(messages[0])
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


def _judge_error(error: grpc.RpcError) -> tuple[str, str, bool]:
    status, message = error.code().name, error.details() or ""
    known = any(word in message for word in _UNAVAILABLE_WORDS)
    proper = status not in _NO_ANSWER and (status != "UNAVAILABLE" or known)
    return status, message, proper and _judge_message(message)[1]


def _judge_message(message: str) -> tuple[str, bool]:
    """The message, and whether it is proper: Triton answers "not healthy" for a model whose process ended."""
    return message, bool(message) and "not healthy" not in message


def _judge_response(response: Any) -> tuple[str, str, bool]:
    """Whether each output has as many bytes as its shape and type claim."""
    sizes = [len(data) for data in response.raw_output_contents]
    claimed = [prod(each.shape) * _BYTES.get(each.datatype, 0) for each in response.outputs]
    fits = len(sizes) == len(claimed) and all(map(_size_fits, claimed, sizes))
    return "answered", f"{sizes} bytes for {claimed}", fits


def _size_fits(claimed: int, size: int) -> bool:
    """Whether the size is as claimed; 0 is claimed for types whose elements have no fixed size."""
    return claimed in {0, size}
