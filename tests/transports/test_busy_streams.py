"""A stream takes one call at a time: a second call is refused at once, and the stream goes on."""

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Event
from typing import Any

import numpy as np
import pytest
from helpers.place import Place
from helpers.signals import tokens_of

from tritone_client import AsyncCodec, Codec, Stream, StreamBusyError, StreamClosedError
from tritone_client.adapters.kanitts import KaniTTSDecoder
from tritone_client.streams.handle import OneAtATime
from tritone_runtime.fidelity import snr_db

NAME = "small_nanocodec"
LIMIT_S = 60.0


class Held:
    """A stream whose next request is held back until it is released."""

    def __init__(self, stream: Stream[Any], monkeypatch: pytest.MonkeyPatch):
        self.begun, self._free = Event(), Event()
        session: Any = stream._live._session
        send = session.send

        def held(data: Any) -> Any:
            self.begun.set()
            yield lambda: self._free.wait(LIMIT_S)
            return (yield from send(data))

        monkeypatch.setattr(session, "send", held)

    def let_go(self) -> None:
        self._free.set()


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1) as executor:
        yield executor


@pytest.mark.parametrize("call", ["push", "close"])
def test_a_call_of_another_thread_is_refused_and_the_stream_goes_on(
    call: str, causal: Codec, monkeypatch: pytest.MonkeyPatch, pool: ThreadPoolExecutor
) -> None:
    tokens = tokens_of(causal.info, 20)
    with causal.decode_stream() as stream:
        received = [stream.push(tokens[:, :5])]
        calls: dict[str, Callable[[], Any]] = {"push": lambda: stream.push(tokens), "close": stream.close}
        held = Held(stream, monkeypatch)
        pushed = pool.submit(stream.push, tokens[:, 5:12])
        assert held.begun.wait(LIMIT_S)
        for _ in range(2):
            with pytest.raises(
                StreamBusyError, match=r"a push is under way on this stream.*wait for that call"
            ):
                calls[call]()
        held.let_go()
        received += [pushed.result(LIMIT_S), stream.push(tokens[:, 12:]), stream.close()]
    assert snr_db(causal.decode(tokens), np.concatenate(received)) > 120


@pytest.mark.parametrize("failed", [False, True])
def test_a_block_that_is_left_while_a_push_is_under_way_ends_the_stream_after_it(
    failed: bool, causal: Codec, monkeypatch: pytest.MonkeyPatch, pool: ThreadPoolExecutor
) -> None:
    tokens = tokens_of(causal.info, 9)
    stream = causal.decode_stream()
    held = Held(stream, monkeypatch)

    def left() -> None:
        with stream:
            pushed.append(pool.submit(stream.push, tokens))
            assert held.begun.wait(LIMIT_S)
            if failed:
                raise ZeroDivisionError

    pushed: list[Any] = []
    with pytest.raises(ZeroDivisionError if failed else StreamBusyError):
        left()
    held.let_go()
    assert snr_db(causal.decode(tokens), pushed[0].result(LIMIT_S)) > 120
    with pytest.raises(StreamClosedError):
        stream.push(tokens)
    assert not stream._live._session._live, "the sequence was ended"  # type: ignore[attr-defined]


def test_another_task_is_refused_and_the_stream_goes_on(causal: Codec, place: Place) -> None:
    tokens = tokens_of(causal.info, 20)

    async def both() -> list[Any]:
        async with AsyncCodec(NAME, place) as codec, codec.decode_stream() as stream:
            first, second, third = await asyncio.gather(
                stream.push(tokens[:, :10]),
                stream.push(tokens[:, :10]),
                stream.close(),
                return_exceptions=True,
            )
            assert [type(second), type(third)] == [StreamBusyError] * 2
            return [first, await stream.push(tokens[:, 10:]), await stream.close()]

    assert snr_db(causal.decode(tokens), np.concatenate(asyncio.run(both()))) > 120


def test_tasks_that_begin_a_stream_together_begin_it_once(causal: Codec, place: Place) -> None:
    tokens = tokens_of(causal.info, 20)

    async def begun() -> Any:
        async with AsyncCodec(NAME, place) as codec:
            stream = codec.decode_stream()
            first, second = await asyncio.gather(
                stream.push(tokens), stream.push(tokens), return_exceptions=True
            )
            assert isinstance(second, StreamBusyError)
            await stream.close()
            return first

    assert snr_db(causal.decode(tokens), asyncio.run(begun())) > 120


def test_an_iterator_of_audio_is_for_one_task_at_a_time(causal: Codec, place: Place) -> None:
    tokens = tokens_of(causal.info, 20)

    async def both() -> list[Any]:
        async with AsyncCodec(NAME, place) as codec:
            pieces = codec.stream(tokens.T)
            both = await asyncio.gather(anext(pieces), anext(pieces), return_exceptions=True)
            assert isinstance(both[1], StreamBusyError)
            return [both[0]] + [piece async for piece in pieces]

    assert snr_db(causal.decode(tokens), np.concatenate(asyncio.run(both()))) > 120


def test_an_iterator_of_audio_is_for_one_thread_at_a_time(causal: Codec, pool: ThreadPoolExecutor) -> None:
    tokens, asked, free = tokens_of(causal.info, 9), Event(), Event()

    def generated() -> Iterator[Any]:
        for frame in tokens.T:
            asked.set()
            assert free.wait(LIMIT_S)
            yield frame

    pieces = causal.stream(generated())
    first = pool.submit(next, pieces)
    assert asked.wait(LIMIT_S)
    with pytest.raises(StreamBusyError, match="the next piece is under way"):
        next(pieces)
    with pytest.raises(StreamBusyError):
        pieces.close()
    free.set()
    assert snr_db(causal.decode(tokens), np.concatenate([first.result(LIMIT_S), *pieces])) > 120


def test_an_iterator_beside_a_push_has_a_stream_of_its_own(causal: Codec) -> None:
    tokens = tokens_of(causal.info, 9)
    pieces = causal.stream(tokens.T)
    pushed, received = [], []
    with causal.decode_stream() as stream:
        for frame in tokens.T:
            pushed.append(stream.push(frame))
            received.append(next(pieces))
    for given in (pushed, received):
        assert snr_db(causal.decode(tokens), np.concatenate(given)) > 120


def test_a_push_from_within_a_push_is_refused_rather_than_waited_for(
    causal: Codec, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokens = tokens_of(causal.info, 9)
    with causal.decode_stream() as stream:
        send = stream._live._session.send

        def calling_back(data: Any) -> Any:
            with pytest.raises(StreamBusyError):
                stream.push(tokens)
            return send(data)

        monkeypatch.setattr(stream._live._session, "send", calling_back)
        assert snr_db(causal.decode(tokens), stream.push(tokens)) > 120


def test_frames_of_kanitts_are_decoded_by_one_thread_at_a_time(
    place: Place, monkeypatch: pytest.MonkeyPatch, pool: ThreadPoolExecutor
) -> None:
    with KaniTTSDecoder(NAME, place) as decoder:
        decoder.decode_frame([1, 2, 3, 4])
        assert decoder._stream is not None
        held = Held(decoder._stream, monkeypatch)
        frame = pool.submit(decoder.decode_frame, [1, 2, 3, 4])
        assert held.begun.wait(LIMIT_S)
        with pytest.raises(StreamBusyError):
            decoder.decode_frame([1, 2, 3, 4])
        held.let_go()
        assert frame.result(LIMIT_S).shape == decoder.decode_frame([1, 2, 3, 4]).shape == (49,)


def test_of_many_threads_one_gets_in() -> None:
    turns = OneAtATime()
    turns.enter("a push")
    with ThreadPoolExecutor(12) as executor:
        refused = [executor.submit(turns.enter, "a push") for _ in range(12)]
    assert {type(each.exception()) for each in refused} == {StreamBusyError}
    turns.leave()
    turns.enter("a close")
