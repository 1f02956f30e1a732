"""Faults of live streams: typed errors soon, and nothing is left behind."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import numpy as np
import pytest
from helpers.comparison import against_whole
from helpers.copies import copied_without_hashes
from helpers.place import Place
from helpers.signals import sound, tokens_of

from tritone_client import (
    AsyncCodec,
    AudioError,
    Codec,
    ServerFullError,
    ServerRefusedError,
    StreamClosedError,
    TokensError,
)
from tritone_server.launcher import serving

NAME = "small_nanocodec"


def test_what_is_wrong_with_a_piece_is_reported_and_the_stream_goes_on(causal: Codec) -> None:
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
    nothing = codec.info.audio_shape(0)
    assert stream.close().shape == nothing or not codec.info.causal
    assert stream.close().shape == nothing
    with pytest.raises(StreamClosedError, match="open another"):
        stream.push(tokens_of(codec.info, 1))
    with codec.decode_stream() as unused:
        assert unused.close().shape == nothing


def left_in_the_middle(codec: Codec) -> None:
    with suppress(ZeroDivisionError), codec.decode_stream() as stream:
        stream.push(tokens_of(codec.info, 1))
        raise ZeroDivisionError


def dropped_iterator(codec: Codec) -> None:
    audio = codec.stream(iter(tokens_of(codec.info).T))
    next(audio)
    audio.close()


def cancelled_task(codec: Codec) -> None:
    place = codec._urls[0]

    async def cancelled() -> None:
        async with (
            AsyncCodec(codec.name, place) as remote,
            remote.decode_stream() as stream,
        ):
            await stream.push(tokens_of(codec.info, 1))
            task = asyncio.create_task(stream.push(tokens_of(codec.info, 5000)))
            await asyncio.sleep(0)  # it sends, and waits for the answer
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            with pytest.raises(StreamClosedError, match="in the middle of a request"):
                await stream.push(tokens_of(codec.info, 1))

    asyncio.run(cancelled())


@pytest.mark.parametrize("leave", [left_in_the_middle, dropped_iterator, cancelled_task])
def test_a_stream_that_is_left_is_ended_on_the_server(leave: Callable[[Codec], None], causal: Codec) -> None:
    """Many more streams than may live at a time."""
    for _ in range(70):
        leave(causal)
    left_in_the_middle(causal)


@pytest.fixture(params=["server", "process"])
def three_places(
    request: pytest.FixtureRequest, repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Codec]:
    """A codec for this test alone, so that it meets no streams that others have left."""
    with ExitStack() as stack:
        place: Place = copied_without_hashes(repository, NAME, tmp_path)
        monkeypatch.setenv("TRITONE_MAX_STREAMS", "3")
        if request.param == "server":
            place = stack.enter_context(serving(repository, [NAME], max_streams=3)).url
        yield stack.enter_context(Codec(NAME, place))


def test_when_full_it_says_so_and_takes_the_next_when_one_ends(three_places: Codec) -> None:
    tokens = tokens_of(three_places.info, 2)
    with ExitStack() as stack:
        *served, refused = [stack.enter_context(three_places.decode_stream()) for _ in range(4)]
        for stream in served:
            stream.push(tokens)
        for _ in range(2):
            with pytest.raises(ServerFullError, match="takes no more streams now"):
                refused.push(tokens)
        served[0].close()
        with three_places.decode_stream() as stream:
            assert len(stream.push(tokens)) == 2 * three_places.info.samples_per_frame


def test_what_the_server_refuses_ends_the_stream_with_its_reason(
    causal: Codec, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = causal.decode_stream()
    stream.push(tokens_of(causal.info, 1))
    monkeypatch.setattr(stream._live._input, "checked", lambda data: data)  # or the client would refuse it
    with pytest.raises(ServerRefusedError, match=r"0\.\.4031"):
        stream.push(np.full((4, 1), 4032))
    monkeypatch.undo()
    with pytest.raises(ServerRefusedError, match=r"0\.\.4031"):
        stream.push(tokens_of(causal.info, 1))
    assert len(stream.close()) == 0
