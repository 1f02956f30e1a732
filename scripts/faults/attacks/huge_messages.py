"""Messages of gigabytes: how the server answers them, and how much memory it uses."""

import time
from collections.abc import Mapping
from dataclasses import dataclass

import psutil
from tritonclient.grpc import service_pb2

from scripts.common.memory import MemoryMonitor, idle_mb
from scripts.common.report import Row
from scripts.faults.attacks.raw_http2 import RawPeer
from scripts.faults.load_generator import LoadGenerator, UtteranceSet, bystanders_row
from tritone_client import Resume
from tritone_server.launcher import TritonServer

__all__ = ["huge_message_rows"]

_PATH = "/inference.GRPCInferenceService/ModelInfer"
_OVER, _WELL_FORMED, _SMALL = 2_200_000_000, 1_900_000_000, 64_000_000
_MAX_COPIES, _MAX_CLAIMED_MB, _FREE_COPIES, _REST_S = 3.0, 50.0, 4, 2.0
"""Most memory in sizes of the message, most for a length that is only announced, and free memory needed."""
_PLACES = 2


@dataclass(frozen=True)
class _Outcome:
    """Status of the answer, and the server's memory in MB before the message, at its peak, and later."""

    status: str
    before: float
    peak: float
    later: float
    seconds: float

    @property
    def formatted(self) -> str:
        memory = f"{self.before:.0f} MB, at most {self.peak:.0f}, {_REST_S:g} s later {self.later:.0f}"
        return f"{self.status} after {self.seconds:.0f} s; the server had {memory}"


def huge_message_rows(server: TritonServer, utterances: Mapping[str, UtteranceSet], full: bool) -> list[Row]:
    """A length that is only announced, a message over gRPC's limit and one below it, beside good streams.

    Args:
        server: to attack.
        utterances: of the good streams.
        full: send messages of gigabytes; otherwise only one of 64 MB.
    """
    with LoadGenerator(utterances, [server.url], _PLACES, Resume()) as load:
        rows = [_announced_row(server)]
        if full:
            rows.append(_row(server, "attack_2gb", _OVER, "RESOURCE_EXHAUSTED"))
        rows.append(_row(server, "attack_large", _WELL_FORMED if full else _SMALL, "NOT_FOUND"))
    return [*rows, bystanders_row("attack_size_lost", load.result)]


def _announced_row(server: TritonServer) -> Row:
    outcome = _send(server, b"", 1_000_000, announced=2**32 - 1)
    grown = outcome.peak - outcome.before
    how = f"4 GB announced and 1 MB sent; {outcome.formatted}"
    return Row("all", "attack_claimed", grown, "MB", f"<= {_MAX_CLAIMED_MB:g}", grown <= _MAX_CLAIMED_MB, how)


def _row(server: TritonServer, check: str, size: int, expected: str) -> Row:
    most, target = _MAX_COPIES * size / 1e6, f"refused, <= {_MAX_COPIES:g} times its size"
    if psutil.virtual_memory().available < _FREE_COPIES * size:
        return Row(
            "all",
            check,
            0,
            "MB",
            target,
            ok=False,
            how=f"not tried: it needs {_FREE_COPIES * size / 1e9:g} GB of free memory",
        )
    outcome = _send(server, _head(size), size)
    grown = outcome.peak - outcome.before
    how = f"{size / 1e9:g} GB for an unknown model; {outcome.formatted}"
    return Row("all", check, grown, "MB", target, outcome.status == expected and grown <= most, how)


def _send(server: TritonServer, head: bytes, size: int, announced: int | None = None) -> _Outcome:
    before, started = idle_mb(server.pid), time.monotonic()
    with MemoryMonitor(server.pid, 0.1) as memory:
        status = RawPeer(server.host, server.ports.grpc).ask(_PATH, head, size, announced)
    seconds = time.monotonic() - started
    time.sleep(_REST_S)
    return _Outcome(status, before, max(before, memory.peak_mb), idle_mb(server.pid), seconds)


def _head(zeros: int) -> bytes:
    """The start of a request whose raw input is the ``zeros`` zero bytes that follow it."""
    request = service_pb2.ModelInferRequest(model_name="nope", raw_input_contents=[b""])
    return bytes(request.SerializeToString())[:-1] + _varint(zeros)


def _varint(number: int) -> bytes:
    low, rest = number & 127, number >> 7
    return bytes([low | 128]) + _varint(rest) if rest else bytes([low])
