"""Live streams and the client when something goes wrong: typed errors, soon, and nothing left behind."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import numpy as np
import pytest
from conftest import against_whole
from helpers.raw import HANGS_S, comes_true, paused, silenced
from helpers.signals import sound, tokens_of

from tritone_client import (
    AsyncCodec,
    AudioError,
    Codec,
    ServerFullError,
    ServerRefusedError,
    ServerUnavailableError,
    Stream,
    StreamClosedError,
    StreamInfo,
    StreamLostError,
    TokensError,
)
from tritone_server.launcher import Ports, TritonServer

NAME = "small_nanocodec"


@pytest.fixture
def mortal(repository: Path) -> Iterator[TritonServer]:
    with TritonServer(repository, [NAME], ports=Ports.free()) as running:
        yield running


def stream_limits(codec: Codec) -> StreamInfo:
    assert codec.stream_info is not None
    return codec.stream_info


def test_what_is_wrong_with_a_piece_is_told_and_the_stream_goes_on(causal: Codec) -> None:
    tokens = tokens_of(causal.info)
    with causal.decode_stream() as stream:
        pieces = [stream.push(tokens[:, :20])]
        for bad in (np.full((4, 1), 4032), np.zeros((5, 1), int), np.zeros((4, 0), int), np.zeros((4, 2))):
            with pytest.raises(TokensError):
                stream.push(bad)
        pieces.append(stream.push(tokens[:, 20:]))
    found = against_whole(causal, tokens, np.concatenate(pieces))
    assert found.ok, found
    with causal.encode_stream(22050) as recorder:
        for wrong in (np.array([np.nan]), np.zeros(4, np.int16), np.zeros((2, 4))):
            with pytest.raises(AudioError):
                recorder.push(wrong)
        recorder.push(sound(causal.info, 9))
    with pytest.raises(TokensError, match="encodes into 4 codebooks, got 2"):
        causal.encode_stream(22050, num_codebooks=2)


def test_a_closed_stream_says_so_and_closes_again(codec: Codec) -> None:
    stream = codec.decode_stream()
    stream.push(tokens_of(codec.info, 5))
    assert len(stream.close()) == 0 or not codec.info.causal
    assert len(stream.close()) == 0
    with pytest.raises(StreamClosedError, match="open another"):
        stream.push(tokens_of(codec.info, 1))
    with codec.decode_stream() as unused:
        assert len(unused.close()) == 0


def left_in_the_middle(codec: Codec) -> None:
    with suppress(ZeroDivisionError), codec.decode_stream() as stream:
        stream.push(tokens_of(codec.info, 1))
        raise ZeroDivisionError


def dropped_iterator(codec: Codec) -> None:
    audio = codec.stream(iter(tokens_of(codec.info).T))
    next(audio)
    audio.close()


def cancelled_task(codec: Codec) -> None:
    async def cancelled() -> None:
        async with (
            AsyncCodec(codec.name, codec._transports[0].url) as remote,
            remote.decode_stream() as stream,
        ):
            await stream.push(tokens_of(codec.info, 1))
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(stream.push(tokens_of(codec.info, 5000)), 0.001)
            with pytest.raises(StreamClosedError, match="in the middle of a request"):
                await stream.push(tokens_of(codec.info, 1))

    asyncio.run(cancelled())


@pytest.mark.parametrize("leave", [left_in_the_middle, dropped_iterator, cancelled_task])
def test_a_stream_that_is_left_is_ended_on_the_server(leave: Callable[[Codec], None], causal: Codec) -> None:
    """Far more of them than the server keeps at a time."""
    for _ in range(70):
        leave(causal)
    left_in_the_middle(causal)


def test_a_full_server_says_so_and_takes_the_next_when_one_ends(causal: Codec) -> None:
    tokens = tokens_of(causal.info, 2)
    with ExitStack() as stack:
        streams = [
            stack.enter_context(causal.decode_stream()) for _ in range(stream_limits(causal).max_streams + 1)
        ]
        *served, refused = streams
        for stream in served:
            stream.push(tokens)
        for _ in range(2):
            with pytest.raises(ServerFullError, match="takes no more streams now"):
                refused.push(tokens)
        served[0].close()
        with causal.decode_stream() as stream:
            assert len(stream.push(tokens)) == 2 * causal.info.samples_per_frame


def test_a_stream_that_was_idle_for_too_long_is_told(causal: Codec, server: TritonServer) -> None:
    with causal.decode_stream() as stream:
        stream.push(tokens_of(causal.info, 1))
        assert silenced(server, f"{NAME}_decode_stream")
        with pytest.raises(StreamLostError, match="idle for too long"):
            stream.push(tokens_of(causal.info, 1))
        with pytest.raises(StreamLostError):
            stream.push(tokens_of(causal.info, 1))


def test_what_the_server_refuses_ends_the_stream_with_its_reason(
    causal: Codec, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = causal.decode_stream()
    stream.push(tokens_of(causal.info, 1))
    monkeypatch.setattr(stream._live._intake, "taken", lambda data: data)  # or the client would refuse it
    with pytest.raises(ServerRefusedError, match=r"0\.\.4031"):
        stream.push(np.full((4, 1), 4032))
    monkeypatch.undo()
    with pytest.raises(ServerRefusedError, match=r"0\.\.4031"):
        stream.push(tokens_of(causal.info, 1))
    assert len(stream.close()) == 0


def told(stream: Stream[np.float32], codec: Codec) -> None:
    """A typed error from the push and from all that follow; closing does not hang."""
    for _ in range(2):
        with pytest.raises(ServerUnavailableError):
            stream.push(tokens_of(codec.info, 1))
    stream.close()


def test_a_server_that_dies_is_told_at_once(mortal: TritonServer) -> None:
    with Codec(NAME, mortal.url) as codec:
        stream = codec.decode_stream()
        stream.push(tokens_of(codec.info, 1))
        os.kill(mortal.pid, signal.SIGKILL)
        assert comes_true(lambda: not mortal.running)
        told(stream, codec)


def test_a_server_that_does_not_answer_is_told_after_the_timeout(mortal: TritonServer) -> None:
    with Codec(NAME, mortal.url, timeout_s=5) as codec:
        stream = codec.decode_stream()
        stream.push(tokens_of(codec.info, 1))
        with paused(mortal.pid):
            told(stream, codec)


def refuses(codec: Codec) -> bool:
    """Whether a new stream gets a typed error, at once."""
    try:
        with codec.decode_stream() as stream:
            stream.push(tokens_of(codec.info, 1))
    except ServerUnavailableError:
        return True
    return False


def test_a_server_told_to_stop_lets_streams_end_and_refuses_new_ones(repository: Path) -> None:
    mortal = TritonServer(repository, [NAME], ports=Ports.free(), grace_s=2 * HANGS_S).start()
    with Codec(NAME, mortal.url) as codec:
        tokens = tokens_of(codec.info, 30)
        whole = codec.decode(tokens)
        with codec.decode_stream() as stream:
            heard = [stream.push(tokens[:, :10])]
            os.kill(mortal.pid, signal.SIGTERM)
            assert comes_true(lambda: not mortal.ready)
            heard.append(stream.push(tokens[:, 10:20]))
            assert comes_true(lambda: refuses(codec)), "soon after readiness is gone"
            told(codec.decode_stream(), codec)
            heard.append(stream.push(tokens[:, 20:]))
        found = against_whole(codec, tokens, np.concatenate(heard), whole)
        assert found.ok, found
    assert comes_true(lambda: not mortal.running), "nobody is left to wait for"
    mortal.stop()


def test_a_server_told_to_stop_does_not_wait_for_streams_that_stay_open(repository: Path) -> None:
    mortal = TritonServer(repository, [NAME], ports=Ports.free(), grace_s=2).start()
    with Codec(NAME, mortal.url) as codec:
        stream = codec.decode_stream()
        stream.push(tokens_of(codec.info, 1))
        mortal.stop()
        told(stream, codec)


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
