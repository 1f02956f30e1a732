"""Sockets that take too much: each is held back or ended, its slot becomes free, and the others go on."""

import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest
from helpers.servers.gateways import PATIENCE_S, RunningGateway, frames_of, running_gateway, wait_until
from numpy.typing import NDArray
from websockets.exceptions import ConnectionClosed

from tritone_client import Codec

Tokens = NDArray[np.int64]
SILENCE = [0] * 8
HANDSHAKE = b"""GET /v1/stream?format=float32&sample_rate=192000 HTTP/1.1\r
Host: x\r
Upgrade: websocket\r
Connection: Upgrade\r
Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r
Sec-WebSocket-Version: 13\r
\r
"""


@pytest.fixture(scope="module")
def strict(folder: Path) -> Iterator[RunningGateway]:
    with running_gateway(folder, sockets=4, send_s=0.5, idle_s=PATIENCE_S) as running:
        yield running


def test_sockets_above_the_limit_are_refused_and_the_others_go_on(
    strict: RunningGateway, mini: Codec, tokens: Tokens
) -> None:
    with ExitStack() as opened:
        talks = [opened.enter_context(strict.talk("format=float32")) for _ in range(4)]
        assert all("start" in talk.next() for talk in talks)
        for _ in range(30):
            with strict.talk() as refused:
                kind, message, code = refused.refusal()
                assert (kind, code) == ("LimitError", 1013)
                assert "maximum of 4 live sockets" in message
        for talk in talks:
            talk.send({"frames": frames_of(tokens), "end": True})
        whole = mini.decode(tokens)
        for talk in talks:
            sound, _, code, _ = talk.rest()
            assert code == 1000
            assert np.allclose(np.frombuffer(b"".join(sound), "<f4"), whole, atol=1e-4)
    wait_until(lambda: strict.live == 0)


def test_a_dropped_socket_frees_its_slot(strict: RunningGateway) -> None:
    talks = [strict.talk() for _ in range(4)]
    assert all("start" in talk.next() for talk in talks)
    for talk in talks:
        talk.socket.socket.shutdown(socket.SHUT_RDWR)
    wait_until(lambda: strict.live == 0)  # within a second on a quick machine
    with strict.talk() as talk:
        assert "start" in talk.next()


def test_a_socket_that_never_reads_is_ended_and_others_go_on(
    strict: RunningGateway, mini: Codec, tokens: Tokens
) -> None:
    with socket.socket() as small:
        small.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        host, _, port = strict.address.partition(":")
        small.connect((host, int(port)))
        small.sendall(HANDSHAKE)
        assert small.recv(1000).startswith(b"HTTP/1.1 101 ")  # and nothing is read from here on
        small.sendall(masked(b"[" + b",".join([b"[0,0,0,0,0,0,0,0]"] * 600) + b"]"))
        with strict.talk("format=float32") as talk:
            sound, _, _ = talk.said_all([{"frames": frame} for frame in frames_of(tokens)])
        assert np.allclose(np.frombuffer(sound, "<f4"), mini.decode(tokens), atol=1e-4)
        wait_until(lambda: strict.live == 0)
        errors = [line for line in strict.shared.metrics.text({}).splitlines() if "errors_total{" in line]
        assert any('"SlowReaderError"} 1' in line for line in errors), errors


def masked(text: bytes) -> bytes:
    """A WebSocket frame of text, under the mask of zeros."""
    return b"\x81\xfe" + len(text).to_bytes(2, "big") + bytes(4) + text


def test_a_stream_may_be_ahead_of_real_time_by_its_lead_only(
    folder: Path, mini: Codec, tokens: Tokens
) -> None:
    begun = time.monotonic()
    with running_gateway(folder, lead_s=0.3) as paced, paced.talk("format=float32") as talk:
        sound, _, summary = talk.said_all([{"frames": frame} for frame in frames_of(tokens)])
    assert time.monotonic() - begun > summary["seconds"] - 0.3
    assert np.allclose(np.frombuffer(sound, "<f4"), mini.decode(tokens), atol=1e-4)


def test_a_socket_far_ahead_is_not_read_and_frees_its_slot_if_it_drops(folder: Path) -> None:
    with running_gateway(folder, lead_s=0.1, waiting_bytes=2000) as paced, paced.talk() as talk:
        for _ in range(200):  # nine seconds of frames
            talk.send({"frames": SILENCE})
        assert "start" in talk.next()
        talk.socket.socket.shutdown(socket.SHUT_RDWR)
        assert wait_until(lambda: paced.live == 0) < PATIENCE_S


def test_an_idle_socket_ends(folder: Path) -> None:
    with running_gateway(folder, idle_s=0.1) as impatient, impatient.talk() as talk:
        kind, message, code = talk.refusal()
    assert (kind, code) == ("IdleError", 1008)
    assert "nothing was sent for 0.1 s" in message


def test_a_gateway_that_stops_lets_streams_end_and_closes_the_rest(folder: Path, tokens: Tokens) -> None:
    with (
        running_gateway(folder, drain_s=PATIENCE_S) as stopping,
        stopping.talk() as ends,
        stopping.talk() as stays,
    ):
        assert "start" in ends.next()
        assert "start" in stays.next()
        stopping.server.should_exit = True
        wait_until(lambda: stopping.shared.draining)
        with stopping.talk() as late:
            assert late.refusal()[::2] == ("ClosingError", 1001)
        ends.send({"frames": frames_of(tokens), "end": True})
        assert ends.rest()[2] == 1000
        stopping.shared.closing.set()
        assert stays.refusal()[::2] == ("ClosingError", 1001)
    with pytest.raises((ConnectionClosed, OSError)):
        stopping.talk()
