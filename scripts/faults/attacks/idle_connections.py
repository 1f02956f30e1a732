"""Thousands of connections that say nothing: a good stream goes on, and a new client still gets in."""

import resource
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager

import numpy as np
import psutil

from scripts.common.memory import idle_mb
from scripts.common.report import Row
from scripts.faults.attacks.raw_http2 import PREFACE
from scripts.faults.load_generator import LoadGenerator, UtteranceSet, bystanders_row
from tritone_client import Codec, Resume, TritoneError
from tritone_server.launcher import TritonServer

__all__ = ["idle_rows"]

_PLACES, _WITHIN_S, _MOST_KB, _SPARE, _OTHERS = 2, 60.0, 100.0, 500, 10
_SAID = {"silent": b"", "http2": PREFACE}


def idle_rows(server: TritonServer, spoken: Mapping[str, UtteranceSet], count: int) -> list[Row]:
    """Connections without a word, then some that greet as HTTP/2 does; beside good streams."""
    _have_descriptors(count)
    with LoadGenerator(spoken, [server.url], _PLACES, Resume()) as crowd:
        rows = [_row(server, next(iter(spoken)), kind, count) for kind in _SAID]
    return [*rows, bystanders_row("attack_idle_lost", crowd.checked)]


def _row(server: TritonServer, codec: str, kind: str, count: int) -> Row:
    before, process = idle_mb(server.pid), psutil.Process(server.pid)
    files, allowed = process.num_fds(), process.rlimit(psutil.RLIMIT_NOFILE)[0]
    with _connected(server, count, _SAID[kind]) as opened:
        each_kb = 1000 * (idle_mb(server.pid) - before) / max(1, opened)
        newcomer, proper = _newcomer(server, codec)
    gone_s = _forgotten_s(server, files)
    how = f"{opened} of {count} connected; a new client {newcomer}; forgotten within {gone_s:.1f} s; "
    how += f"the server may open {allowed} files"
    ok = proper and each_kb <= _MOST_KB
    return Row("all", f"attack_idle_{kind}", each_kb, "KB each", f"<= {_MOST_KB:g}", ok, how)


def _have_descriptors(count: int) -> None:
    """For our ends of the connections; ours may be raised up to a limit that only root raises."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < count + _SPARE:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, count + _SPARE), hard))


@contextmanager
def _connected(server: TritonServer, count: int, said: bytes) -> Iterator[int]:
    """How many of the connections the server took."""
    with ExitStack() as stack:
        opened = 0
        for _ in range(count):
            try:
                peer = stack.enter_context(
                    socket.create_connection((server.host, server.ports.grpc), _WITHIN_S)
                )
                peer.sendall(said)
            except OSError:
                break
            opened += 1
        yield opened


def _newcomer(server: TritonServer, name: str) -> tuple[str, bool]:
    """What a new client meets with, and whether that is to be served or told so."""
    begun = time.monotonic()
    try:
        with Codec(name, server.url, timeout_s=_WITHIN_S) as codec, codec.decode_stream() as stream:
            stream.push(np.zeros((codec.info.num_codebooks, 1), np.int64))
    except Exception as error:
        return f"is told {type(error).__name__}", isinstance(error, TritoneError)
    return f"is served within {time.monotonic() - begun:.1f} s", True


def _forgotten_s(server: TritonServer, files: int) -> float:
    """Until the server has no more files open than that, and a few of others."""
    process, begun = psutil.Process(server.pid), time.monotonic()
    while process.num_fds() > files + _OTHERS and time.monotonic() - begun < _WITHIN_S:
        time.sleep(0.1)
    return time.monotonic() - begun
