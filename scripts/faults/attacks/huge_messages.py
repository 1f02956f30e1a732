"""Messages of gigabytes: what becomes of them, and of the server's memory."""

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

__all__ = ["size_rows"]

_PATH = "/inference.GRPCInferenceService/ModelInfer"
_OVER, _WELL_FORMED, _SMALL = 2_200_000_000, 1_900_000_000, 64_000_000
_MOST_COPIES, _CLAIM_MB, _ROOM, _REST_S = 3.0, 50.0, 4, 2.0
_PLACES = 2


@dataclass(frozen=True)
class _Taken:
    """What a message met with: its status, and the server's memory in MB before, at most, and later."""

    status: str
    before: float
    peak: float
    later: float
    seconds: float

    @property
    def told(self) -> str:
        grown = f"{self.before:.0f} MB, at most {self.peak:.0f}, {_REST_S:g} s later {self.later:.0f}"
        return f"{self.status} after {self.seconds:.0f} s; the server had {grown}"


def size_rows(server: TritonServer, spoken: Mapping[str, UtteranceSet], full: bool) -> list[Row]:
    """A length that is only claimed, a message over gRPC's limit, and one below it, beside good streams."""
    with LoadGenerator(spoken, [server.url], _PLACES, Resume()) as crowd:
        rows = [_claimed_row(server)]
        if full:
            rows.append(_row(server, "attack_2gb", _OVER, "RESOURCE_EXHAUSTED"))
        rows.append(_row(server, "attack_large", _WELL_FORMED if full else _SMALL, "NOT_FOUND"))
    return [*rows, bystanders_row("attack_size_lost", crowd.checked)]


def _claimed_row(server: TritonServer) -> Row:
    taken = _taken(server, b"", 1_000_000, claimed=2**32 - 1)
    grown = taken.peak - taken.before
    how = f"4 GB announced and 1 MB sent; {taken.told}"
    return Row("all", "attack_claimed", grown, "MB", f"<= {_CLAIM_MB:g}", grown <= _CLAIM_MB, how)


def _row(server: TritonServer, check: str, size: int, expected: str) -> Row:
    most, target = _MOST_COPIES * size / 1e6, f"refused, <= {_MOST_COPIES:g} times its size"
    if psutil.virtual_memory().available < _ROOM * size:
        return Row(
            "all", check, 0, "MB", target, ok=False, how=f"not tried: {_ROOM * size / 1e9:g} GB not free"
        )
    taken = _taken(server, _head(size), size)
    grown = taken.peak - taken.before
    how = f"{size / 1e9:g} GB for an unknown model; {taken.told}"
    return Row("all", check, grown, "MB", target, taken.status == expected and grown <= most, how)


def _taken(server: TritonServer, head: bytes, size: int, claimed: int | None = None) -> _Taken:
    before, begun = idle_mb(server.pid), time.monotonic()
    with MemoryMonitor(server.pid, 0.1) as watch:
        status = RawPeer(server.host, server.ports.grpc).ask(_PATH, head, size, claimed)
    seconds = time.monotonic() - begun
    time.sleep(_REST_S)
    return _Taken(status, before, max(before, watch.peak_mb), idle_mb(server.pid), seconds)


def _head(zeros: int) -> bytes:
    """What makes so many zeros the raw input of a request."""
    request = service_pb2.ModelInferRequest(model_name="nope", raw_input_contents=[b""])
    return bytes(request.SerializeToString())[:-1] + _varint(zeros)


def _varint(number: int) -> bytes:
    low, rest = number & 127, number >> 7
    return bytes([low | 128]) + _varint(rest) if rest else bytes([low])
