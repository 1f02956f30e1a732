"""The examples, with a stand-in for the language model: what they play equals the whole."""

import asyncio
import time
from pathlib import Path
from typing import Any

import numpy as np
from helpers.comparison import against_whole
from numpy.typing import NDArray

from examples.many_generations import Heard, generation
from examples.speech_models import kanitts, orpheus, qwen3_tts
from examples.stand_in import written, written_async
from tritone_client import AsyncCodec, Codec
from tritone_client.layouts import KANITTS, ORPHEUS, QWEN3_TTS
from tritone_server.launcher import TritonServer

FRAMES, FAST = 20, 100_000.0


def tokens_of(codec: Codec) -> NDArray[np.int64]:
    shape = codec.info.num_codebooks, FRAMES
    return np.random.default_rng(0).integers(0, codec.info.codebook_size, shape)


def test_ids_come_when_they_are_due() -> None:
    begun = time.monotonic()
    assert list(written(range(5), 100)) == [0, 1, 2, 3, 4]
    assert time.monotonic() - begun >= 0.04


def test_kanitts_and_orpheus_speak_while_they_write(server: TritonServer) -> None:
    for name, speak, layout in (
        ("small_nanocodec", kanitts, KANITTS),
        ("small_snac_24khz", orpheus, ORPHEUS),
    ):
        with Codec(name, server.url) as codec:
            tokens = tokens_of(codec)
            ids = [*layout.ids(tokens).tolist(), layout.end]
            heard = list(speak(written(ids, FAST), codec))
            found = against_whole(codec, tokens, np.concatenate(heard), codec.decode(tokens))
        assert len(heard) >= FRAMES
        assert found.ok, found


def test_qwen3_tts_continues_a_voice(server: TritonServer) -> None:
    with Codec("small_qwen3_tts_12hz", server.url) as codec:
        tokens = tokens_of(codec)
        voice, speech = tokens[:, :8], tokens[:, 8:]
        steps = QWEN3_TTS.ids(speech)
        heard = list(qwen3_tts(written(steps, FAST), codec, voice))
        whole = codec.decode(tokens)[8 * codec.info.samples_per_frame :]
        found = against_whole(codec, tokens, np.concatenate(heard), whole)
    assert found.ok, found


def test_many_generations_share_the_codec(repository: Path) -> None:
    async def heard_by_all() -> tuple[list[Heard], list[NDArray[np.float32]], Any]:
        async with AsyncCodec("small_nanocodec", repository) as codec:
            info = codec.info
            shape = 6, FRAMES, info.num_codebooks
            tokens = np.random.default_rng(0).integers(0, info.codebook_size, shape)
            heard = await asyncio.gather(
                *(generation(written_async(each, 10 * info.frame_rate_hz), codec) for each in tokens)
            )
            return list(heard), [await codec.decode(each.T) for each in tokens], tokens

    heard, wholes, tokens = asyncio.run(heard_by_all())
    with Codec("small_nanocodec", repository) as codec:
        for each, whole, frames in zip(heard, wholes, tokens, strict=True):
            found = against_whole(codec, frames.T, np.concatenate(each.pieces), whole)
            assert found.ok, found


def test_late_pieces_are_those_a_player_waits_for() -> None:
    assert Heard(times_s=[1.0, 1.08, 1.16]).late_pieces(0.08) == 0
    assert Heard(times_s=[1.0, 1.17, 1.24, 1.33]).late_pieces(0.08) == 2
