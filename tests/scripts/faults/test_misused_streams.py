"""Misused streams: the request is refused with a message, and no stream changes its output."""

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from helpers.comparison import against_whole
from helpers.servers.raw import RawStreams, comes_true, new_id
from helpers.signals import sound, tokens_of
from numpy.typing import NDArray
from tritonclient.utils import InferenceServerException

from scripts.common.small_codecs import SMALL
from tritone_client import Codec
from tritone_server.launcher import TritonServer

NANO, MIMI = "small_nanocodec", "small_mimi"
MIMI_HOP = int(SMALL[MIMI]["sampling_rate"] / SMALL[MIMI]["frame_rate"])
UNKNOWN = "INVALID_ARGUMENT .*must specify the START flag on the first request"


@pytest.fixture
def raw(server: TritonServer) -> Iterator[RawStreams]:
    streams = RawStreams(server, f"{NANO}_decode_stream")
    yield streams
    streams.client.close()


@pytest.fixture
def tokens(server: TritonServer) -> NDArray[np.int64]:
    with Codec(NANO, server.url) as codec:
        return tokens_of(codec.info, 12)


def test_a_stream_that_was_never_started_is_refused(raw: RawStreams, tokens: NDArray[np.int64]) -> None:
    live = new_id()
    raw.step(live, tokens, start=True)
    unknown = new_id()
    for _ in range(2):
        assert re.match(UNKNOWN, raw.refusal(unknown, tokens))
    assert re.match(UNKNOWN, raw.refusal(unknown, tokens[:, :0], end=True))
    assert len(raw.step(live, tokens, end=True)), "the stream beside it goes on"


def test_an_id_can_be_used_again_after_the_end_and_only_with_a_start(
    raw: RawStreams, tokens: NDArray[np.int64]
) -> None:
    stream = new_id()
    fresh = raw.step(stream, tokens, start=True)
    raw.step(stream, tokens, end=True)
    assert re.match(UNKNOWN, raw.refusal(stream, tokens))
    assert np.array_equal(raw.step(stream, tokens, start=True), fresh)
    raw.step(stream, tokens[:, :0], end=True)


def test_a_start_on_a_live_id_restarts_the_stream(raw: RawStreams, tokens: NDArray[np.int64]) -> None:
    stream, before = new_id(), raw.count("streams_live")
    fresh = raw.step(stream, tokens, start=True)
    later = raw.step(stream, tokens)
    assert not np.array_equal(later, fresh), "the stream has state"
    assert np.array_equal(raw.step(stream, tokens, start=True), fresh)
    assert np.array_equal(raw.step(stream, tokens), later)
    raw.step(stream, tokens[:, :0], end=True)
    assert comes_true(lambda: raw.count("streams_live") <= before)


@pytest.mark.parametrize(
    ("name", "bad", "message"),
    [
        (NANO, np.full((4, 3), 4032), r"tokens must be in 0\.\.4031"),
        (NANO, np.full((4, 3), -1), r"tokens must be in 0\.\.4031"),
        (NANO, np.zeros((4, 0), np.int64), "tokens must have at least 1 frame, got 0"),
        (NANO, np.zeros((5, 1), np.int64), r"unexpected shape|\[-1,4,-1\]"),
        (NANO, np.zeros((4, 1), np.float32), "inference input 'tokens' data-type is 'FP32'"),
        (MIMI, np.zeros((4, 1), np.int64), r"it began with tokens \[8, steps\], this one has tokens \[4, "),
        (MIMI, np.zeros((33, 1), np.int64), r"it began with tokens \[8, steps\], this one has tokens \[33, "),
        (MIMI, np.full((8, 1), 128), r"tokens must be in 0\.\.127"),
    ],
    ids=["N", "-1", "empty", "5 of 4 books", "float", "8 to 4 books", "8 to 33 books", "mimi N"],
)
def test_bad_tokens_leave_a_stream_as_it_was(
    name: str, bad: NDArray[Any], message: str, server: TritonServer
) -> None:
    raw, stream = RawStreams(server, f"{name}_decode_stream"), new_id()
    with Codec(name, server.url) as codec:
        tokens = tokens_of(codec.info, 40, books=8 if name == MIMI else None)
        whole = codec.decode(tokens)
    pieces = [raw.step(stream, tokens[:, :20], start=True)]
    answer = raw.refusal(stream, bad)
    assert re.match(f"INVALID_ARGUMENT .*({message})", answer), answer
    assert answer.endswith("; the stream is as it was before") or "model '" in answer, (
        "a message of Triton's own"
    )
    pieces.append(raw.step(stream, tokens[:, 20:], end=True))
    found = against_whole(codec, tokens, np.concatenate(pieces), whole)
    assert found.ok, found


@pytest.mark.parametrize(
    ("bad", "more", "message"),
    [
        (np.full(MIMI_HOP, np.nan, np.float32), {}, "audio must be finite"),
        (np.full(MIMI_HOP, np.inf, np.float32), {}, "audio must be finite"),
        (np.zeros(MIMI_HOP + 1, np.float32), {}, f"a positive multiple of {MIMI_HOP} samples, got"),
        (np.zeros(0, np.float32), {}, f"a positive multiple of {MIMI_HOP} samples, got 0"),
        (np.zeros(MIMI_HOP, np.float32), {"num_codebooks": 4}, r"num_codebooks = \[\[8\]\], this one has"),
        (np.zeros(MIMI_HOP, np.float32), {"num_codebooks": 33}, r"num_codebooks = \[\[8\]\], this one has"),
    ],
    ids=["nan", "inf", "hop + 1", "empty", "8 to 4 books", "8 to 33 books"],
)
def test_bad_audio_leaves_a_stream_as_it_was(
    bad: NDArray[Any], more: dict[str, int], message: str, server: TritonServer
) -> None:
    raw, stream = RawStreams(server, f"{MIMI}_encode_stream"), new_id()
    books: dict[str, Any] = {"num_codebooks": 8}
    with Codec(MIMI, server.url) as codec:
        audio = sound(codec.info, 30)
        whole = codec.encode(audio, codec.info.sample_rate_hz, 8)
    pieces = [raw.step(stream, audio[: 9 * MIMI_HOP], start=True, **books)]
    answer = raw.refusal(stream, bad, **(books | more))
    assert re.match(f"INVALID_ARGUMENT .*{message}.*; the stream is as it was before", answer), answer
    pieces.append(raw.step(stream, audio[9 * MIMI_HOP :], end=True, **books))
    assert np.array_equal(whole, np.concatenate(pieces, axis=1))


def test_a_stream_that_begins_badly_does_not_begin(raw: RawStreams, tokens: NDArray[np.int64]) -> None:
    stream, before = new_id(), raw.count("streams_live")
    assert "the stream did not start" in raw.refusal(stream, tokens + 4032, start=True)
    assert "is not live" in raw.refusal(stream, tokens)
    assert comes_true(lambda: raw.count("streams_live") <= before)
    assert len(raw.step(stream, tokens, start=True, end=True)), "a good start with the same id does"


@pytest.mark.parametrize("name", [NANO, MIMI])
def test_a_bad_request_leaves_streams_beside_it_as_they_were(name: str, server: TritonServer) -> None:
    """All are sent at once and may share batches; tests/backends holds a bad row against its batch."""
    raw = RawStreams(server, f"{name}_decode_stream")
    with Codec(name, server.url) as codec, ThreadPoolExecutor(6) as pool:
        many = [tokens_of(codec.info, 30, seed) for seed in range(5)]
        ids, busy = [new_id() for _ in many], new_id()
        pieces = [[raw.step(stream, each[:, :1], start=True)] for stream, each in zip(ids, many, strict=True)]
        raw.step(busy, many[0], start=True)
        for frame in range(1, 30):
            long = pool.submit(raw.step, busy, many[0])
            steps = [pool.submit(raw.step, ids[n], many[n][:, frame : frame + 1]) for n in (0, 1, 3, 4)]
            bad = pool.submit(raw.step, ids[2], many[2][:, :1] + codec.info.codebook_size)
            with pytest.raises(InferenceServerException, match="the stream is as it was before"):
                bad.result()
            steps.insert(2, pool.submit(raw.step, ids[2], many[2][:, frame : frame + 1]))
            for row, step in zip(pieces, steps, strict=True):
                row.append(step.result())
            long.result()
        for stream in (*ids, busy):
            raw.step(stream, many[0][:, :0], end=True)
        for row, each in zip(pieces, many, strict=True):
            found = against_whole(codec, each[:, : len(row)], np.concatenate(row))
            assert found.ok, found
