"""A model's process that was paused until Triton gave it up: no caller gets the answer to another request."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from helpers.comparison import against_whole
from helpers.servers.processes import ended, process_of
from helpers.servers.raw import HANGS_S, comes_true, paused
from helpers.signals import tokens_of
from numpy.typing import NDArray

from tritone_client import Codec, Resume, Resumption, ServerLostError, Stream
from tritone_server.launcher import Ports, TritonServer, serving
from tritone_server.supervisor import Supervisor

NAME = "small_nanocodec"
STREAM = f"{NAME}_decode_stream"
STREAMS, PAUSES, FRAMES = 4, 3, 30


@pytest.fixture
def mortal(repository: Path) -> Iterator[TritonServer]:
    with TritonServer(repository, [NAME], ports=Ports.free()) as running:
        yield running


@pytest.mark.parametrize("model", [STREAM, f"{NAME}_vocoder"])
def test_a_process_that_was_given_up_ends_instead_of_answering(model: str, mortal: TritonServer) -> None:
    process, frame = process_of(mortal, model), np.ones((4, 1), np.int64)
    with Codec(NAME, mortal.url, timeout_s=HANGS_S) as codec:
        ask = codec.decode_stream().push if model == STREAM else codec.decode
        with paused(process.pid), pytest.raises(ServerLostError, match="is not healthy"):
            ask(frame)
    assert comes_true(lambda: ended(process))


def rest_of(stream: Stream[np.float32], tokens: NDArray[np.int64]) -> list[NDArray[np.float32]]:
    return [stream.push(frame) for frame in tokens.T]


def test_streams_go_on_elsewhere_while_a_process_is_paused(repository: Path) -> None:
    resumptions: list[Resumption] = []
    resume = Resume(HANGS_S, HANGS_S, on_resume=resumptions.append)
    with (
        serving(repository, [NAME]) as first,
        serving(repository, [NAME]) as second,
        Supervisor(first, most_restarts=PAUSES) as supervisor,
        Codec(NAME, [first.url, second.url], HANGS_S, resume) as codec,
        ThreadPoolExecutor(STREAMS) as pool,
    ):
        for pause in range(PAUSES):
            tokens = [tokens_of(codec.info, FRAMES, seed) for seed in range(pause, pause + STREAMS)]
            wholes = codec.decode(tokens)
            streams = [codec.decode_stream() for _ in tokens]
            received = [[stream.push(each[:, :10])] for stream, each in zip(streams, tokens, strict=True)]
            with paused(process_of(first, STREAM).pid):
                rests = [
                    pool.submit(rest_of, stream, each[:, 10:])
                    for stream, each in zip(streams, tokens, strict=True)
                ]
                for pieces, rest, stream in zip(received, rests, streams, strict=True):
                    pieces += [*rest.result(), stream.close()]
            for each, pieces, whole in zip(tokens, received, wholes, strict=True):
                found = against_whole(codec, each, np.concatenate(pieces), whole, wholes)
                assert found.ok, found
            assert comes_true(lambda: supervisor.restarts == pause + 1)  # noqa: B023
    assert [each.to_endpoint for each in resumptions] == [second.url] * (PAUSES * STREAMS // 2)
