"""Faults of live streams and servers: the client gets typed errors soon, and nothing is left behind."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from helpers.comparison import against_whole
from helpers.servers.raw import HANGS_S, comes_true, paused, silenced
from helpers.signals import tokens_of

from tritone_client import (
    Codec,
    ServerUnavailableError,
    Stream,
    StreamLostError,
)
from tritone_server.launcher import Ports, TritonServer

NAME = "small_nanocodec"


@pytest.fixture
def mortal(repository: Path) -> Iterator[TritonServer]:
    with TritonServer(repository, [NAME], ports=Ports.free()) as running:
        yield running


def test_a_stream_that_was_idle_for_too_long_is_reported(causal: Codec, server: TritonServer) -> None:
    with causal.decode_stream() as stream:
        stream.push(tokens_of(causal.info, 1))
        assert silenced(server, f"{NAME}_decode_stream")
        with pytest.raises(StreamLostError, match="idle for too long"):
            stream.push(tokens_of(causal.info, 1))
        with pytest.raises(StreamLostError):
            stream.push(tokens_of(causal.info, 1))


def ends_with_an_error(stream: Stream[np.float32], codec: Codec) -> None:
    """The push and all later ones raise a typed error; closing does not hang."""
    for _ in range(2):
        with pytest.raises(ServerUnavailableError):
            stream.push(tokens_of(codec.info, 1))
    stream.close()


def test_a_server_that_dies_is_reported_at_once(mortal: TritonServer) -> None:
    with Codec(NAME, mortal.url) as codec:
        stream = codec.decode_stream()
        stream.push(tokens_of(codec.info, 1))
        os.kill(mortal.pid, signal.SIGKILL)
        assert comes_true(lambda: not mortal.running)
        ends_with_an_error(stream, codec)


def test_a_server_that_does_not_answer_is_reported_after_the_timeout(mortal: TritonServer) -> None:
    with Codec(NAME, mortal.url, timeout_s=5) as codec:
        stream = codec.decode_stream()
        stream.push(tokens_of(codec.info, 1))
        with paused(mortal.pid):
            ends_with_an_error(stream, codec)


def refuses(codec: Codec) -> bool:
    """Whether a new stream gets a typed error at once."""
    try:
        with codec.decode_stream() as stream:
            stream.push(tokens_of(codec.info, 1))
    except ServerUnavailableError:
        return True
    return False


def test_a_server_that_stops_lets_streams_end_and_refuses_new_ones(repository: Path) -> None:
    mortal = TritonServer(repository, [NAME], ports=Ports.free(), grace_s=2 * HANGS_S).start()
    with Codec(NAME, mortal.url) as codec:
        tokens = tokens_of(codec.info, 30)
        whole = codec.decode(tokens)
        with codec.decode_stream() as stream:
            received = [stream.push(tokens[:, :10])]
            os.kill(mortal.pid, signal.SIGTERM)
            assert comes_true(lambda: not mortal.ready)
            received.append(stream.push(tokens[:, 10:20]))
            assert comes_true(lambda: refuses(codec)), "soon after readiness is gone"
            ends_with_an_error(codec.decode_stream(), codec)
            received.append(stream.push(tokens[:, 20:]))
        found = against_whole(codec, tokens, np.concatenate(received), whole)
        assert found.ok, found
    assert comes_true(lambda: not mortal.running), "nobody is left to wait for"
    mortal.stop()


def test_a_server_that_stops_does_not_wait_for_streams_that_stay_open(repository: Path) -> None:
    mortal = TritonServer(repository, [NAME], ports=Ports.free(), grace_s=2).start()
    with Codec(NAME, mortal.url) as codec:
        stream = codec.decode_stream()
        stream.push(tokens_of(codec.info, 1))
        mortal.stop()
        ends_with_an_error(stream, codec)


def test_a_server_that_dies_leaves_no_process_behind(mortal: TritonServer) -> None:
    children = Path(f"/proc/{mortal.pid}/task").glob("*/children")
    stubs = [Path("/proc", pid) for each in children for pid in each.read_text().split()]
    assert len(stubs) == 4
    os.kill(mortal.pid, signal.SIGKILL)
    assert comes_true(lambda: not mortal.running)
    assert comes_true(lambda: not any(stub.exists() for stub in stubs))


def test_a_program_may_end_with_a_stream_open(server: TritonServer) -> None:
    program = f"""if True:
        import numpy as np
        from tritone_client import Codec
        stream = Codec({NAME!r}, {server.url!r}).decode_stream()
        print(len(stream.push(np.zeros((4, 1), int))))
    """
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=HANGS_S, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "49\n", "")
