"""Orpheus's decoder: the functions of its package, which decode in a live stream.

Change one import, and give the address of a server, a folder of models or an open codec::

    # from orpheus_tts.decoder import tokens_decoder_sync
    from tritone_client.orpheus import tokens_decoder_sync

    for pcm in tokens_decoder_sync(engine.generate_tokens_sync(prompt), url="127.0.0.1:8001"):
        player.write(pcm)  # bytes: 16-bit samples at 24 kHz

The package decodes windows of four frames and keeps one frame of each, which is not exact; and it leaves out
the first frame and the last two. Here every frame is heard, and the sound equals that of the whole decode.

Names are those of orpheus-speech 0.1.0 (orpheus_tts/decoder.py).
"""

import logging
import re
from collections.abc import AsyncGenerator, AsyncIterable, Generator, Iterable
from contextlib import nullcontext
from typing import Any, TypeAlias

import numpy as np

from tritone_client.aio import AsyncCodec
from tritone_client.cli.pcm import raw_of
from tritone_client.codec import Codec
from tritone_client.codec_models import Endpoints
from tritone_client.layouts.base import Array, IdsLike
from tritone_client.layouts.flat import ORPHEUS

__all__ = ["convert_to_audio", "ids_of_text", "tokens_decoder", "tokens_decoder_sync", "turn_token_into_id"]

Item: TypeAlias = str | IdsLike
"""What a generator of tokens yields: text whose last ``<custom_token_N>`` is new, or ids."""

_log = logging.getLogger("tritone_client")
_TOKEN = re.compile(r"<custom_token_(\d+)>")
_FIRST_TOKEN_ID = 128256
"""Id of ``<custom_token_0>``."""
_PLACES = ORPHEUS.num_codebooks
_WINDOW = slice(2048, 4096)
_SILENCE = np.zeros(0, np.float32)
_CODEC, _URL = "snac_24khz", "127.0.0.1:8001"


def tokens_decoder_sync(
    syn_token_gen: Iterable[Item], codec: str | Codec = _CODEC, url: Endpoints = _URL, skip: bool = True
) -> Generator[bytes, None, None]:
    """Decode one utterance as its tokens come.

    Args:
        syn_token_gen: yields text as the package's ``generate_tokens_sync``, of which the last
            ``<custom_token_N>`` is new, or no token at all; or an id; or several ids, as
            :func:`ids_of_text` makes them of text with several new tokens.
        codec: name of the codec, or an open one, which stays open.
        url: host and gRPC port of a server, several of them, or the ``Path`` of a model repository to run in
            this process. Not used if ``codec`` is open.
        skip: leave out ids in the wrong place, with the codes of their frame, and an incomplete last frame;
            a warning in the log ``tritone_client`` counts them.

    Yields:
        PCM, little-endian 16-bit samples at 24 kHz, never empty; in all, 2048 samples for each frame. It ends
        at the end of speech, or with the tokens.

    Raises:
        TokensError: without ``skip``, an id is in the wrong place; or, after all sound, the last frame is not
            whole.
        TritoneError: as of :class:`tritone_client.Codec` and :meth:`tritone_client.Stream.push`.
    """
    frames = _Frames(skip)
    opened = Codec(codec, url) if isinstance(codec, str) else nullcontext(codec)
    with opened as live, live.decode_stream() as stream:
        for item in syn_token_gen:
            tokens = frames.push(item)
            yield from _pcm(stream.push(tokens) if tokens.size else _SILENCE)
            if frames.ended:
                break
        yield from _pcm(stream.close())
    frames.close()


async def tokens_decoder(
    token_gen: AsyncIterable[Item], codec: str | AsyncCodec = _CODEC, url: Endpoints = _URL, skip: bool = True
) -> AsyncGenerator[bytes, None]:
    """As :func:`tokens_decoder_sync`, for asyncio; ``codec`` is a name or an open :class:`AsyncCodec`."""
    frames = _Frames(skip)
    opened = AsyncCodec(codec, url) if isinstance(codec, str) else nullcontext(codec)
    async with opened as live, live.decode_stream() as stream:
        async for item in token_gen:
            tokens = frames.push(item)
            for pcm in _pcm(await stream.push(tokens) if tokens.size else _SILENCE):
                yield pcm
            if frames.ended:
                break
        for pcm in _pcm(await stream.close()):
            yield pcm
    frames.close()


def convert_to_audio(
    multiframe: IdsLike, count: int, codec: str | Codec = _CODEC, url: Endpoints = _URL
) -> bytes | None:
    """PCM of samples 2048 to 4095 of a window of frames, as the package decodes them.

    A window is not exact: these samples also depend on frames outside of it. :func:`tokens_decoder_sync` is.

    Args:
        multiframe: codes 0..4095, seven per frame, as :func:`turn_token_into_id` returns them.
        count: not used; the package passes how many tokens came.
        codec: as of :func:`tokens_decoder_sync`.
        url: as of :func:`tokens_decoder_sync`.

    Returns:
        4096 bytes, or none for a single frame; None for less than a frame.

    Raises:
        TokensError: a code is out of range.
        TritoneError: as of :class:`tritone_client.Codec` and :meth:`tritone_client.Codec.decode`.
    """
    codes = np.asarray(multiframe, np.int64)
    frames = codes[: len(codes) // _PLACES * _PLACES].reshape(-1, _PLACES)
    if not len(frames):
        return None
    opened = Codec(codec, url) if isinstance(codec, str) else nullcontext(codec)
    with opened as live:
        return raw_of(live.decode(frames[:, ORPHEUS.places].T)[_WINDOW])


def turn_token_into_id(token_string: str, index: int) -> int | None:
    """The code of the last token of a text, if a token ends it; None otherwise.

    Args:
        token_string: text that ends with ``<custom_token_N>``.
        index: how many tokens came before, from which the place in the frame follows.

    Returns:
        The code; out of 0..4095 if the token belongs to another place, or is no audio.
    """
    ids = _last_id(token_string)
    return ids[0] - ORPHEUS.first_id - index % _PLACES * ORPHEUS.codebook_size if ids else None


def ids_of_text(text: str) -> list[int]:
    """The ids of all ``<custom_token_N>`` of a text; other text is left out."""
    return [_FIRST_TOKEN_ID + int(number) for number in _TOKEN.findall(text)]


class _Frames:
    """The frames of one utterance, from what its generator yields."""

    def __init__(self, skip: bool):
        self._assembler, self._text = ORPHEUS.assembler(skip), ""

    @property
    def ended(self) -> bool:
        return self._assembler.ended

    def push(self, item: Item) -> Array:
        if not isinstance(item, str):
            return self._assembler.push(item)
        # An engine that yields all text so far repeats it when it stops; no id follows an equal one.
        ids = _last_id(item) if item != self._text else []
        self._text = item
        return self._assembler.push(ids)

    def close(self) -> None:
        """Report what was left out; TokensError for an incomplete frame, unless it may be left out too."""
        self._assembler.close()
        if self._assembler.skipped:
            _log.warning(
                "%d ids of Orpheus did not fit their place or frame, and were left out",
                self._assembler.skipped,
            )


def _last_id(text: str) -> list[int]:
    """The id of the token that ends a text, if one does; earlier ones came before."""
    found = _TOKEN.fullmatch(text[max(text.rfind("<"), 0) :].rstrip())
    return [_FIRST_TOKEN_ID + int(found[1])] if found else []


def _pcm(audio: Any) -> Iterable[bytes]:
    return [raw_of(audio)] if len(audio) else []
