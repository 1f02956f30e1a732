"""Streams whose chunks grow: exact as any other, and in as many requests as the plan says."""

import asyncio
from typing import Any

import numpy as np
import pytest
from helpers.both_clients import BlockingCodec
from helpers.comparison import against_whole
from helpers.place import Place
from helpers.signals import tokens_of

from tritone_client import AsyncCodec, ChunkPlanError, Codec, TokensError


def test_chunks_that_grow_join_to_the_whole(codec: Codec) -> None:
    tokens = tokens_of(codec.info)
    pieces = list(codec.stream(iter(tokens.T), first=1, then=8))
    found = against_whole(codec, tokens, np.concatenate(pieces, axis=-1))
    assert found.ok, found


def test_sound_comes_in_pieces_as_large_as_the_chunks(causal: Codec, place: Place) -> None:
    tokens, hop = tokens_of(causal.info, 25), causal.info.samples_per_frame
    expected = [1, 2, 4, 8, 8, 2]
    assert [len(each) // hop for each in causal.stream(tokens.T, 1, 8)] == expected

    async def frames() -> Any:
        for frame in tokens.T:
            yield frame
            await asyncio.sleep(0)

    async def sizes(items: Any) -> list[int]:
        async with AsyncCodec(causal.name, place) as codec:
            return [len(each) // hop async for each in codec.stream(items, first=1, then=8)]

    assert asyncio.run(sizes(frames())) == asyncio.run(sizes(tokens.T)) == expected


def test_what_is_wrong_is_said_before_anything_is_sent(causal: Codec, place: Place) -> None:
    blocking = BlockingCodec(causal.name, place)
    for client in (causal, blocking):
        with pytest.raises(ChunkPlanError, match="first is a positive number of frames"):
            next(iter(client.stream([], first=0)))
        with pytest.raises(TokensError, match=r"0\.\.4031, got 4032"):
            list(client.stream([np.full(4, 4031), np.full(4, 4032)], first=1, then=8))
    blocking.end()


def test_an_iterator_may_be_closed_after_its_end(causal: Codec, place: Place) -> None:
    async def closed_twice() -> int:
        async with AsyncCodec(causal.name, place) as codec:
            pieces = codec.stream(tokens_of(codec.info, 3).T)
            number = len([piece async for piece in pieces])
            await pieces.aclose()
            await pieces.aclose()
            return number

    assert asyncio.run(closed_twice()) == 3
