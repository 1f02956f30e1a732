"""Thousands of idle connections, beside which good streams run on and a new client is still served."""

import resource
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager

import numpy as np
import psutil

from scripts.common.memory import idle_mb
from scripts.common.report import Row
from scripts.common.waiting import seconds_until
from scripts.faults.attacks.raw_http2 import PREFACE
from scripts.faults.load_generator import LoadGenerator, UtteranceSet, bystanders_row
from tritone_client import Codec, Resume, TritoneError
from tritone_server.launcher import TritonServer

__all__ = ["idle_connection_rows"]

_PLACES, _TIMEOUT_S, _MAX_KB, _SPARE_FILES, _OTHER_FILES = 2, 60.0, 100.0, 500, 10
_GREETINGS = {"silent": b"", "http2": PREFACE}
"""What each kind of connection sends before it falls silent."""


def idle_connection_rows(
    server: TritonServer, utterances: Mapping[str, UtteranceSet], count: int
) -> list[Row]:
    """``count`` connections that send nothing, then as many that only send the HTTP/2 preface."""
    _raise_file_limit(count)
    with LoadGenerator(utterances, [server.url], _PLACES, Resume()) as load:
        rows = [_row(server, next(iter(utterances)), kind, count) for kind in _GREETINGS]
    return [*rows, bystanders_row("attack_idle_lost", load.result)]


def _row(server: TritonServer, codec: str, kind: str, count: int) -> Row:
    before, process = idle_mb(server.pid), psutil.Process(server.pid)
    files, allowed = process.num_fds(), process.rlimit(psutil.RLIMIT_NOFILE)[0]
    with _connected(server, count, _GREETINGS[kind]) as opened:
        each_kb = 1000 * (idle_mb(server.pid) - before) / max(1, opened)
        newcomer, proper = _new_client(server, codec)
    closed_s = _seconds_until_closed(server, files)
    how = f"{opened} of {count} connected; a new client {newcomer}; closed within {closed_s:.1f} s; "
    how += f"the server may open {allowed} files"
    ok = proper and each_kb <= _MAX_KB
    return Row("all", f"attack_idle_{kind}", each_kb, "KB each", f"<= {_MAX_KB:g}", ok, how)


def _raise_file_limit(count: int) -> None:
    """Allow this process enough open files for its ends of the connections, up to its hard limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < count + _SPARE_FILES:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, count + _SPARE_FILES), hard))


@contextmanager
def _connected(server: TritonServer, count: int, greeting: bytes) -> Iterator[int]:
    """Open connections; yield how many the server accepted."""
    with ExitStack() as stack:
        opened = 0
        for _ in range(count):
            try:
                peer = stack.enter_context(
                    socket.create_connection((server.host, server.ports.grpc), _TIMEOUT_S)
                )
                peer.sendall(greeting)
            except OSError:
                break
            opened += 1
        yield opened


def _new_client(server: TritonServer, name: str) -> tuple[str, bool]:
    """The outcome for a new client, and whether it is proper: served, or a typed error."""
    begun = time.monotonic()
    try:
        with Codec(name, server.url, timeout_s=_TIMEOUT_S) as codec, codec.decode_stream() as stream:
            stream.push(np.zeros((codec.info.num_codebooks, 1), np.int64))
    except Exception as error:
        return f"gets {type(error).__name__}", isinstance(error, TritoneError)
    return f"is served within {time.monotonic() - begun:.1f} s", True


def _seconds_until_closed(server: TritonServer, files: int) -> float:
    """Wait until the server has ``files`` open files, and ten for other clients; return how long it took."""
    process = psutil.Process(server.pid)
    return seconds_until(lambda: process.num_fds() <= files + _OTHER_FILES, _TIMEOUT_S)
