"""An answer to another request never reaches a caller: the client asks another server, or raises an error."""

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import grpc  # type: ignore[import-untyped]
import numpy as np
import pytest
from helpers.servers.lying_server import (
    CODEC,
    HOP,
    Answer,
    LyingServer,
    Refusal,
    lying_server,
    response,
    right,
)

from tritone_client import AsyncCodec, Codec, Resumption, ServerLostError, ServerRefusedError
from tritone_client.streams.failover import Resume

TOKENS = np.arange(12).reshape(2, 6)
SOUND = np.repeat(TOKENS[0], HOP).astype(np.float32)


def foreign(request: Any) -> Any:
    """The answer to another caller's request, of the right length."""
    answer = right(request)
    nonce = np.frombuffer(answer.raw_output_contents[1], np.int64) + 1
    audio = np.frombuffer(answer.raw_output_contents[0], np.float32)[None]
    return response(request.model_name, audio=audio + 1, nonce=nonce[None])


def without_nonce(request: Any) -> Any:
    answer = right(request)
    del answer.outputs[1], answer.raw_output_contents[1]
    return answer


def empty_nonce(request: Any) -> Any:
    audio = np.zeros((1, HOP), np.float32)
    return response(request.model_name, audio=audio, nonce=np.zeros((1, 0), np.int64))


def without_outputs(request: Any) -> Any:
    return response(request.model_name)


def without_contents(request: Any) -> Any:
    answer = right(request)
    answer.ClearField("raw_output_contents")
    return answer


def short_of_bytes(request: Any) -> Any:
    answer = right(request)
    answer.raw_output_contents[0] = answer.raw_output_contents[0][:-1]
    return answer


def without_rows(request: Any) -> Any:
    nonce = request.parameters["tritone_nonce"].int64_param
    return response(request.model_name, audio=np.zeros((0, HOP), np.float32), nonce=np.array([[nonce]]))


def given_up(request: Any) -> Any:
    raise Refusal(grpc.StatusCode.INTERNAL, f"Stub process '{request.model_name}_0_0' is not healthy.")


def in_turn(*answers: Answer) -> Answer:
    """Answers with each function once, then correctly."""
    left = list(answers)

    def answer(request: Any) -> Any:
        return left.pop(0)(request) if left else right(request)

    return answer


LIES: list[Answer] = [
    *(foreign, without_nonce, empty_nonce, without_outputs, without_contents, short_of_bytes, without_rows),
    given_up,
]


@pytest.fixture
def liar() -> Iterator[LyingServer]:
    with lying_server() as server:
        yield server


@pytest.fixture
def honest() -> Iterator[LyingServer]:
    with lying_server() as server:
        yield server


def whole(urls: list[str], lie: Callable[[], None]) -> np.ndarray[Any, Any]:
    with Codec(CODEC, urls) as codec:
        lie()
        return codec.decode(TOKENS)


def whole_in_asyncio(urls: list[str], lie: Callable[[], None]) -> np.ndarray[Any, Any]:
    async def decoded() -> np.ndarray[Any, Any]:
        async with AsyncCodec(CODEC, urls) as codec:
            lie()
            return await codec.decode(TOKENS)

    return asyncio.run(decoded())


def streamed(urls: list[str], lie: Callable[[], None]) -> np.ndarray[Any, Any]:
    with Codec(CODEC, urls) as codec, codec.decode_stream() as stream:
        received = [stream.push(TOKENS[:, :3])]
        lie()
        received += [stream.push(frame) for frame in TOKENS.T[3:]]
        return np.concatenate(received)


def streamed_in_asyncio(urls: list[str], lie: Callable[[], None]) -> np.ndarray[Any, Any]:
    async def streamed_audio() -> np.ndarray[Any, Any]:
        async with AsyncCodec(CODEC, urls) as codec, codec.decode_stream() as stream:
            received = [await stream.push(TOKENS[:, :3])]
            lie()
            received += [await stream.push(frame) for frame in TOKENS.T[3:]]
            return np.concatenate(received)

    return asyncio.run(streamed_audio())


WAYS = [whole, whole_in_asyncio, streamed, streamed_in_asyncio]
Way = Callable[[list[str], Callable[[], None]], np.ndarray[Any, Any]]


@pytest.mark.parametrize("lie", LIES)
@pytest.mark.parametrize("way", WAYS)
def test_it_is_a_lost_server_where_there_is_no_other(way: Way, lie: Answer, liar: LyingServer) -> None:
    with pytest.raises(ServerLostError):
        way([liar.url], lambda: setattr(liar, "answer", lie))


@pytest.mark.parametrize("lie", LIES)
@pytest.mark.parametrize("way", WAYS)
def test_another_server_is_asked_where_there_is_one(
    way: Way, lie: Answer, liar: LyingServer, honest: LyingServer
) -> None:
    for _ in range(2):  # streams begin at the servers in turn: one of two is at the liar
        liar.answer = right
        assert np.array_equal(way([liar.url, honest.url], lambda: setattr(liar, "answer", lie)), SOUND)


def test_a_first_answer_is_checked_as_every_other(liar: LyingServer) -> None:
    liar.answer = foreign
    with (
        Codec(CODEC, liar.url) as codec,
        pytest.raises(ServerLostError, match="the answer to another request"),
    ):
        codec.decode_stream().push(TOKENS)


def test_replays_are_checked_too(honest: LyingServer) -> None:
    resumptions: list[Resumption] = []
    with Codec(CODEC, [honest.url, honest.url], resume=Resume(on_resume=resumptions.append)) as codec:
        stream = codec.decode_stream()
        received = [stream.push(TOKENS[:, :3])]
        honest.answer = in_turn(given_up, given_up, foreign)  # asked, asked again for a status, replayed
        received.append(stream.push(TOKENS[:, 3:]))
        stream.close()
    assert np.array_equal(np.concatenate(received), SOUND)
    assert len(resumptions) == 1


def test_what_the_model_refuses_is_still_the_callers(liar: LyingServer) -> None:
    def refused(_: Any) -> Any:
        raise Refusal(grpc.StatusCode.INVALID_ARGUMENT, "tokens must be in 0..15")

    with Codec(CODEC, liar.url) as codec:
        stream = codec.decode_stream()
        stream.push(TOKENS)

        def refused_unless_it_ends(request: Any) -> Any:
            return right(request) if request.parameters["sequence_end"].bool_param else refused(request)

        liar.answer = refused_unless_it_ends
        with pytest.raises(ServerRefusedError, match=r"must be in 0\.\.15"):
            stream.push(TOKENS)
        liar.answer = refused
        with pytest.raises(ServerRefusedError, match=r"must be in 0\.\.15"):
            codec.decode(TOKENS)


def test_a_request_that_was_refused_and_is_taken_when_asked_again_puts_the_stream_in_doubt(
    liar: LyingServer,
) -> None:
    with Codec(CODEC, liar.url) as codec:
        stream = codec.decode_stream()
        stream.push(TOKENS)
        liar.answer = in_turn(given_up)
        with pytest.raises(ServerLostError, match="in doubt"):
            stream.push(TOKENS)


def test_an_end_that_a_server_cannot_answer_loses_nothing(liar: LyingServer) -> None:
    with Codec(CODEC, liar.url) as codec:
        stream = codec.decode_stream()
        assert len(stream.push(TOKENS)) == len(SOUND)
        liar.answer = given_up
        assert len(stream.close()) == 0


def test_whole_inputs_are_asked_again_where_streams_would_go_on(liar: LyingServer) -> None:
    with Codec(CODEC, liar.url, resume=Resume(deadline_s=300)) as codec:
        liar.answer = in_turn(given_up, foreign)
        assert np.array_equal(codec.decode(TOKENS), SOUND)
    with Codec(CODEC, liar.url, resume=Resume(deadline_s=0)) as codec:
        liar.answer = given_up
        with pytest.raises(ServerLostError):
            codec.decode(TOKENS)
