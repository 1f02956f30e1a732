"""Streams behind a prefix: its sound is left out, and what follows is what it is in the whole."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from helpers.comparison import against_whole
from helpers.place import Place
from helpers.signals import tokens_of
from numpy.typing import NDArray

from tritone_client import AsyncCodec, Codec, TokensError
from tritone_client.sansio import SansIO
from tritone_client.streams.stream_sessions import StatefulSession
from tritone_client.transport.interface import Request

CUTS = {"one frame each": (23, range(1, 60)), "uneven": (1, [2, 3, 19]), "one piece": (59, [])}
"""Frames of the prefix, and where the rest is cut."""


def heard_behind(codec: Codec, tokens: NDArray[np.int64], before: int, cuts: Any = ()) -> NDArray[Any]:
    """Audio of the frames from ``before`` on, in a stream that has the others as its prefix."""
    with codec.decode_stream(prefix=tokens[:, :before]) as stream:
        pieces = [
            stream.push(piece)
            for piece in np.split(tokens[:, before:], [cut for cut in cuts if cut < 60 - before], axis=1)
        ]
        pieces.append(stream.close())
    return np.concatenate(pieces, axis=-1)


@pytest.mark.parametrize(("before", "cuts"), CUTS.values(), ids=CUTS)
def test_what_follows_a_prefix_equals_the_whole(codec: Codec, before: int, cuts: Sequence[int]) -> None:
    tokens, hop = tokens_of(codec.info), codec.info.samples_per_frame
    whole = codec.decode(tokens)
    heard = heard_behind(codec, tokens, before, cuts)
    assert heard.shape == codec.info.audio_shape((60 - before) * hop - codec.info.short_samples)
    joined = np.concatenate([whole[..., : before * hop], heard], axis=-1)
    found = against_whole(codec, tokens, joined, whole)
    assert found.ok, found


def test_a_prefix_is_a_push_of_which_nothing_is_heard(codec: Codec) -> None:
    """Bit for bit, where the model sees all of the prefix."""
    tokens = tokens_of(codec.info)
    with codec.decode_stream() as stream:
        pieces = [stream.push(tokens[:, :5]), stream.push(tokens[:, 5:]), stream.close()]
    pushed = np.concatenate(pieces, axis=-1)[..., 5 * codec.info.samples_per_frame :]
    assert np.array_equal(heard_behind(codec, tokens, 5), pushed)


def test_nothing_behind_a_prefix_is_silence_without_a_sample(codec: Codec) -> None:
    stream = codec.decode_stream(prefix=tokens_of(codec.info, 9))
    assert stream.close().shape == codec.info.audio_shape(0)


def test_asyncio_and_iterators_take_a_prefix(causal: Codec, place: Place) -> None:
    tokens, hop = tokens_of(causal.info, 30), causal.info.samples_per_frame
    whole = causal.decode(tokens)

    async def played() -> list[NDArray[np.float32]]:
        async with AsyncCodec(causal.name, place) as codec:
            async with codec.decode_stream(tokens[:, :20]) as stream:
                pushed = [await stream.push(frame) for frame in tokens[:, 20:].T]
            iterated = [each async for each in codec.stream(tokens[:, 20:].T, prefix=tokens[:, :20])]
            return [np.concatenate(pushed), np.concatenate(iterated)]

    iterated = np.concatenate(list(causal.stream(tokens[:, 20:].T, prefix=tokens[:, :20])))
    for heard in [iterated, *asyncio.run(played())]:
        found = against_whole(causal, tokens, np.concatenate([whole[: 20 * hop], heard]), whole)
        assert found.ok, found


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Frames of the requests of streams, which it notes."""
    found: list[int] = []
    exchange = StatefulSession._exchange

    def noted(session: StatefulSession, request: Request, timeout_s: float | None = None) -> SansIO[Any]:
        found.append(request.arrays["tokens"].shape[-1])
        return exchange(session, request, timeout_s)

    monkeypatch.setattr(StatefulSession, "_exchange", noted)
    return found


def test_the_largest_steps_are_those_that_servers_take(causal: Codec, sent: list[int]) -> None:
    """Of a codec that sees minutes of its past."""
    info = causal.stream_info
    assert info is not None
    assert causal._models is not None
    causal._models._stream_infos["decode"] = replace(info, replay_frames=10**6)
    causal.decode_stream(prefix=tokens_of(causal.info, 9100)).close()
    assert sent == [4500, 4500, 100, 0], "10 s, 10 s, and the end"


def test_a_long_prefix_takes_one_request_of_what_the_model_still_sees(causal: Codec, sent: list[int]) -> None:
    info = causal.stream_info
    assert info is not None
    assert info.replay_frames is not None
    causal.decode_stream(prefix=tokens_of(causal.info, 400)).close()
    assert sent == [info.replay_frames, 0], "and the end"


@pytest.mark.parametrize(
    ("prefix", "message"),
    [
        (np.zeros((5, 3), int), r"^the prefix: small_nanocodec takes tokens \[4, T\], got \[5, 3\]"),
        (np.zeros((4, 0), int), "^the prefix: small_nanocodec needs at least 1 frame"),
        (np.full((4, 3), 5000), r"^the prefix: tokens of small_nanocodec are 0\.\.4031, got 5000"),
        (np.zeros((4, 3)), "^the prefix: tokens are integers, got float64"),
        ("voice.npy", "^the prefix: .*the str 'voice.npy'; if that is a file, read it first"),
    ],
)
def test_a_wrong_prefix_is_refused_and_named(causal: Codec, prefix: Any, message: str) -> None:
    with pytest.raises(TokensError, match=message):
        causal.decode_stream(prefix=prefix)


def test_a_stream_keeps_the_codebooks_of_its_prefix(place: Place) -> None:
    with Codec("small_mimi", place) as codec:
        stream = codec.decode_stream(prefix=tokens_of(codec.info, 3, books=4))
        with pytest.raises(TokensError, match="began with 4 codebooks, got 8"):
            stream.push(tokens_of(codec.info, 1, books=8))
        assert stream.push(tokens_of(codec.info, 1, books=4)).shape == (codec.info.samples_per_frame,)
        stream.close()
