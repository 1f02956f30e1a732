"""Orpheus's functions on SNAC itself, on a server and in this process."""

import asyncio
from collections.abc import AsyncIterator

import numpy as np
from helpers.place import Place

from tritone_client import Codec
from tritone_client.cli.pcm import raw_of
from tritone_client.layouts import ORPHEUS
from tritone_client.orpheus import tokens_decoder, tokens_decoder_sync

NAME = "small_snac_24khz"


def test_orpheus_on_the_real_codec_equals_the_whole_decode(place: Place) -> None:
    with Codec(NAME, place) as codec:
        tokens = np.random.default_rng(0).integers(0, codec.info.codebook_size, (7, 12))
        whole = np.frombuffer(raw_of(codec.decode(tokens)), "<i2").astype(int)
        texts = [f"<custom_token_{each - 128256}>" for each in ORPHEUS.ids(tokens)]
        pcm = b"".join(tokens_decoder_sync(texts, codec=codec))

    async def token_gen() -> AsyncIterator[str]:
        for text in texts:
            yield text

    async def collected() -> bytes:
        return b"".join([each async for each in tokens_decoder(token_gen(), NAME, place)])

    assert asyncio.run(collected()) == pcm
    streamed = np.frombuffer(pcm, "<i2").astype(int)
    assert len(streamed) == len(whole)
    assert np.abs(streamed - whole).max() <= 1  # PCM of sounds that differ by rounding
