"""The functions of Orpheus's package, on a stand-in for its codec that is late as the codec is."""

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator
from itertools import pairwise
from types import TracebackType
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from tritone_client import TokensError
from tritone_client.cli.pcm import raw_of
from tritone_client.layouts import ORPHEUS
from tritone_client.orpheus import (
    convert_to_audio,
    ids_of_text,
    tokens_decoder,
    tokens_decoder_sync,
    turn_token_into_id,
)

Audio = NDArray[np.float32]
HOP, LATE = 2048, 4757
TOKENS = np.random.default_rng(0).integers(0, 4096, (7, 9))
TOKENS[:, 2] = 0  # code 0 is a code
IDS = ORPHEUS.ids(TOKENS).tolist()
END = ORPHEUS.end


def decoded(tokens: NDArray[np.int64]) -> Audio:
    """Audio in which every code and its frame can be told."""
    tiles = np.tile(tokens / 4096 - 0.5, (HOP // 7 + 1, 1))[:HOP]
    return np.ascontiguousarray(tiles.T, np.float32).ravel()


class LateStream:
    """Audio that comes LATE samples after its tokens."""

    def __init__(self) -> None:
        self.rest = np.zeros(0, np.float32)
        self.pushes: list[int] = []
        self.closed = False

    def push(self, tokens: NDArray[np.int64]) -> Audio:
        assert not self.closed
        self.pushes.append(tokens.shape[1])
        ready = np.concatenate([self.rest, decoded(tokens)])
        count = max(len(ready) - LATE, 0)
        self.rest = ready[count:]
        return ready[:count]

    def close(self) -> Audio:
        self.closed = True
        rest, self.rest = self.rest, self.rest[:0]
        return rest

    def __enter__(self) -> "LateStream":
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.closed = True


class Opened:
    """Notes which codec is opened where, and whether it is open."""

    arguments: tuple[Any, ...] = ()
    open = False

    def __call__(self, *arguments: Any) -> "Opened":
        self.arguments = arguments
        return self

    def __enter__(self) -> Any:
        self.open = True
        return FakeCodec()

    def __exit__(self, *_: object) -> None:
        self.open = False


class AsyncLateStream:
    def __init__(self, stream: LateStream):
        self.stream = stream

    async def push(self, tokens: NDArray[np.int64]) -> Audio:
        return self.stream.push(tokens)

    async def close(self) -> Audio:
        return self.stream.close()

    async def __aenter__(self) -> "AsyncLateStream":
        return self

    async def __aexit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.stream.closed = True


class FakeCodec:
    """Stands for an open Codec, or an open AsyncCodec."""

    def __init__(self, asynchronous: bool = False):
        self.asynchronous, self.stream = asynchronous, LateStream()

    def decode_stream(self) -> Any:
        return AsyncLateStream(self.stream) if self.asynchronous else self.stream

    def decode(self, tokens: NDArray[np.int64]) -> Audio:
        return decoded(tokens)


def spoken(items: list[Any], skip: bool = True) -> bytes:
    """The sound of tokens, by the function for threads and by the one for asyncio."""
    codec: Any = FakeCodec()
    pcm = list(tokens_decoder_sync(iter(items), codec=codec, skip=skip))
    assert all(pcm)

    async def collected() -> list[bytes]:
        live: Any = FakeCodec(asynchronous=True)
        return [each async for each in tokens_decoder(later(items), codec=live, skip=skip)]

    assert asyncio.run(collected()) == pcm
    return b"".join(pcm)


async def later(items: list[Any]) -> AsyncIterator[Any]:
    for item in items:
        await asyncio.sleep(0)
        yield item


def texts(ids: list[int]) -> list[str]:
    return [f"<custom_token_{each - 128256}>" for each in ids]


def growing(parts: list[str]) -> list[str]:
    """What the package's engine yields: all text so far."""
    return ["".join(parts[: count + 1]) for count in range(len(parts))]


@pytest.mark.parametrize(
    "items",
    [
        texts(IDS),
        growing(texts(IDS)),
        [*growing(texts(IDS)), "".join(texts(IDS))],
        [*texts([ORPHEUS.start]), *texts(IDS), *texts([END])],
        ["", "Hello", *texts(IDS), "<|eot_id|>"],
        [f"  {text} \n" for text in texts(IDS)],
        IDS,
        [*IDS, END, *IDS[:3]],
        [IDS[:5], np.array(IDS[5:30]), IDS[30:]],
        [ids_of_text("".join(texts(IDS)))],
    ],
)
def test_every_frame_is_heard_the_first_and_the_last_too(items: list[Any]) -> None:
    assert spoken(items, skip=False) == raw_of(decoded(TOKENS))
    assert spoken(items) == raw_of(decoded(TOKENS))


@given(st.lists(st.integers(1, 20), max_size=9))
def test_pieces_of_any_size_give_the_same_sound(sizes: list[int]) -> None:
    ends = [0, *np.cumsum(sizes).clip(max=len(IDS)).tolist(), len(IDS)]
    pieces = [IDS[begin:end] for begin, end in pairwise(ends)]
    pcm = list(tokens_decoder_sync(iter(pieces), codec=FakeCodec()))  # type: ignore[arg-type]
    assert b"".join(pcm) == raw_of(decoded(TOKENS))


def test_sound_comes_as_soon_as_the_codec_has_it() -> None:
    codec: Any = FakeCodec()
    taken = []

    def tokens() -> Iterator[str]:
        for number, text in enumerate(texts(IDS)):
            taken.append(number)
            yield text

    pcm = tokens_decoder_sync(tokens(), codec=codec)
    next(pcm)
    assert len(taken) == 21  # 3 frames, of which the codec holds 4757 samples back
    pcm.close()
    assert codec.stream.closed
    assert codec.stream.pushes == [1, 1, 1]


def test_short_speech_is_heard() -> None:
    """The package is silent under 28 tokens."""
    assert spoken(IDS[:7]) == raw_of(decoded(TOKENS[:, :1]))
    assert spoken([]) == b""
    assert spoken([END]) == b""


def test_speech_ends_at_its_end() -> None:
    asked = iter([*IDS[:14], END, *IDS[14:]])
    pcm = tokens_decoder_sync(asked, codec=FakeCodec())  # type: ignore[arg-type]
    assert b"".join(pcm) == raw_of(decoded(TOKENS[:, :2]))
    assert list(asked) == IDS[14:]


def test_ids_that_do_not_fit_cost_their_frame_only(caplog: pytest.LogCaptureFixture) -> None:
    wrong = [*IDS[:10], *IDS[11:], *IDS[:2]]
    with caplog.at_level(logging.WARNING, "tritone_client"):
        sound = spoken(texts(wrong))
    assert sound == raw_of(decoded(np.delete(TOKENS, 1, axis=1)))
    assert caplog.messages == ["8 ids of Orpheus did not fit their place or frame, and were left out"] * 2


def test_without_skipping_a_wrong_id_is_an_error_and_half_a_frame_one_after_all_sound() -> None:
    with pytest.raises(TokensError, match="number 10 of the utterance"):
        spoken([*IDS[:10], *IDS[11:]], skip=False)
    heard: list[bytes] = []
    with pytest.raises(TokensError, match="3 ids at the end belong to 1 frame"):
        heard.extend(tokens_decoder_sync(IDS[:17], codec=FakeCodec(), skip=False))  # type: ignore[arg-type]
    assert b"".join(heard) == raw_of(decoded(TOKENS[:, :2]))


def test_a_codec_that_is_named_is_open_for_the_utterance(monkeypatch: pytest.MonkeyPatch) -> None:
    opened = Opened()
    monkeypatch.setattr("tritone_client.adapters.orpheus.Codec", opened)
    pcm = tokens_decoder_sync(IDS, url="host:8001")
    next(pcm)
    assert opened.open
    assert len(list(pcm)) > 0
    assert opened.arguments == ("snac_24khz", "host:8001")
    assert not opened.open


def test_codes_of_token_texts() -> None:
    assert turn_token_into_id("<custom_token_10>", 0) == 0
    assert turn_token_into_id(" <custom_token_4110><custom_token_4117>\n", 8) == 11
    assert turn_token_into_id("<custom_token_2>", 1) == 2 - 10 - 4096
    assert turn_token_into_id("Hello", 0) is None
    assert turn_token_into_id("<custom_token_x>", 0) is None
    assert turn_token_into_id("<custom_token_5> and more", 0) is None


def test_a_window_is_cut_as_the_package_cuts_it() -> None:
    codes = TOKENS[[0, 1, 3, 4, 2, 5, 6], :4].T.ravel().tolist()
    codec: Any = FakeCodec()
    assert convert_to_audio(codes, 28, codec=codec) == raw_of(decoded(TOKENS[:, :4])[2048:4096])
    assert convert_to_audio([*codes, 5], 29, codec=codec) == convert_to_audio(codes, 28, codec=codec)
    assert convert_to_audio(codes[:7], 7, codec=codec) == b""
    assert convert_to_audio(codes[:6], 6, codec=codec) is None
