"""Live streams through the real server: however they are cut, they give what the whole gives."""

import asyncio
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from conftest import CAUSAL, SMALL
from numpy.typing import NDArray

from tritone_build.fidelity import snr_db
from tritone_client import (
    AsyncCodec,
    AudioError,
    Codec,
    ServerFullError,
    ServerRefusedError,
    ServerUnavailableError,
    Stream,
    StreamClosedError,
    StreamInfo,
    StreamLostError,
    TokensError,
)
from tritone_client import codec as codec_module
from tritonserver import Ports, TritonServer

NAME = "small_nanocodec"
CUTS = {
    "one frame each": list(range(1, 61)),
    "uneven": [1, 3, 4, 17, 18, 45],
    "one piece": [],
    "nearly everything first": [59],
}
Tokens = NDArray[np.int64]


@pytest.fixture(params=list(SMALL))
def codec(request: pytest.FixtureRequest, server: TritonServer) -> Iterator[Codec]:
    with Codec(str(request.param), server.url) as opened:
        yield opened


@pytest.fixture
def causal(server: TritonServer) -> Iterator[Codec]:
    with Codec(NAME, server.url) as opened:
        yield opened


@pytest.fixture
def mortal(repository: Path) -> Iterator[TritonServer]:
    with TritonServer(repository, [NAME], ports=Ports.free()) as running:
        yield running


def tokens_of(codec: Codec, frames: int = 60, seed: int = 0) -> Tokens:
    generator = np.random.default_rng(seed)
    return generator.integers(0, codec.info.codebook_size, (codec.info.num_codebooks, frames))


def stream_limits(codec: Codec) -> StreamInfo:
    assert codec.stream_info is not None
    return codec.stream_info


def sound(codec: Codec, frames: float) -> NDArray[np.float32]:
    samples = round(frames * codec.info.samples_per_frame)
    return (0.3 * np.random.default_rng(1).standard_normal(samples)).astype(np.float32)


@pytest.mark.parametrize("cuts", CUTS.values(), ids=CUTS)
def test_decoding_however_it_is_cut_equals_the_whole(codec: Codec, cuts: list[int]) -> None:
    tokens = tokens_of(codec)
    with codec.decode_stream() as stream:
        pieces = [stream.push(piece) for piece in np.split(tokens, cuts, axis=1) if piece.size]
        pieces.append(stream.close())
    joined = np.concatenate(pieces)
    assert joined.shape == (60 * codec.info.samples_per_frame,)
    assert snr_db(codec.decode(tokens), joined) > 120


@pytest.mark.parametrize("chunk", [1, 7, 50, 333, 10**6])
def test_encoding_however_it_is_cut_equals_the_whole(codec: Codec, chunk: int) -> None:
    audio = sound(codec, 40.4)
    with codec.encode_stream(codec.info.sample_rate_hz) as stream:
        pieces = [stream.push(audio[start : start + chunk]) for start in range(0, len(audio), chunk)]
        pieces.append(stream.close())
    assert np.array_equal(np.concatenate(pieces, axis=1), codec.encode(audio, codec.info.sample_rate_hz))


def test_audio_comes_at_once_or_as_late_as_the_codec_looks_ahead(codec: Codec) -> None:
    hop, late = codec.info.samples_per_frame, 0 if codec.info.causal else codec.info.lookaround_frames
    with codec.decode_stream() as stream:
        given = [len(stream.push(frame)) for frame in tokens_of(codec).T]
        rest = stream.close()
    assert given == [0] * late + [hop] * (60 - late)
    assert len(rest) == late * hop


def test_a_stream_shorter_than_the_codec_takes_is_told_at_the_end(server: TritonServer) -> None:
    with Codec("small_lfsc", server.url) as codec:
        stream = codec.decode_stream()
        assert len(stream.push(tokens_of(codec, 3))) == 0
        with pytest.raises(TokensError, match="at least 4 frame"):
            stream.close()
        recorder = codec.encode_stream(codec.info.sample_rate_hz)
        recorder.push(np.zeros(codec.info.min_samples - 1))
        with pytest.raises(AudioError, match="append silence"):
            recorder.close()


def test_an_iterator_of_tokens_becomes_an_iterator_of_audio(codec: Codec) -> None:
    tokens = tokens_of(codec)
    pieces = list(codec.stream(iter(tokens.T)))
    assert all(len(piece) for piece in pieces)
    assert snr_db(codec.decode(tokens), np.concatenate(pieces)) > 120


def test_asyncio_gives_the_same(codec: Codec) -> None:
    tokens, audio, rate_hz = tokens_of(codec), sound(codec, 20.5), codec.info.sample_rate_hz

    async def played(remote: AsyncCodec, delay_s: float) -> NDArray[np.float32]:
        pieces = []
        async with remote.decode_stream() as stream:
            for frame in tokens.T:
                pieces.append(await stream.push(frame))
                await asyncio.sleep(delay_s)
            pieces.append(await stream.close())
        return np.concatenate(pieces)

    async def everything() -> None:
        async with AsyncCodec(codec.name, codec._transport.url) as remote:
            assert remote.info == codec.info
            for result in await asyncio.gather(*(played(remote, 0.001 * index) for index in range(4))):
                assert snr_db(codec.decode(tokens), result) > 120
            async with remote.encode_stream(rate_hz) as stream:
                pieces = [
                    await stream.push(audio[:500]),
                    await stream.push(audio[500:]),
                    await stream.close(),
                ]
            assert np.array_equal(np.concatenate(pieces, axis=1), codec.encode(audio, rate_hz))
            streamed = np.concatenate([piece async for piece in remote.stream(tokens.T)])
            assert snr_db(codec.decode(tokens), streamed) > 120
            assert snr_db(await remote.decode(tokens), codec.decode(tokens)) > 120
            assert np.array_equal(await remote.encode(audio, rate_hz), codec.encode(audio, rate_hz))

    asyncio.run(everything())


def test_streams_beside_each_other_do_not_mix(causal: Codec) -> None:
    many = [tokens_of(causal, 30, seed) for seed in range(5)]
    with ExitStack() as stack:
        streams = [stack.enter_context(causal.decode_stream()) for _ in many]
        pieces = [
            [stream.push(tokens[:, start:stop]) for stream, tokens in zip(streams, many, strict=True)]
            for start, stop in pairwise([0, 1, 5, 6, 30])
        ]
    for index, tokens in enumerate(many):
        joined = np.concatenate([piece[index] for piece in pieces])
        assert snr_db(causal.decode(tokens), joined) > 120


def test_another_sample_rate_is_converted_as_it_comes(causal: Codec) -> None:
    soxr = pytest.importorskip("soxr")
    audio = sound(causal, 100)
    with causal.encode_stream(44100) as stream:
        pieces = [stream.push(piece) for piece in np.array_split(audio, 9)] + [stream.close()]
    whole = soxr.ResampleStream(44100, 22050, 1, dtype="float32").resample_chunk(audio, last=True)
    assert np.array_equal(np.concatenate(pieces, axis=1), causal.encode(whole, 22050))


def test_what_is_wrong_with_a_piece_is_told_and_the_stream_goes_on(causal: Codec) -> None:
    tokens = tokens_of(causal)
    with causal.decode_stream() as stream:
        pieces = [stream.push(tokens[:, :20])]
        for bad in (np.full((4, 1), 4032), np.zeros((5, 1), int), np.zeros((4, 0), int), np.zeros((4, 2))):
            with pytest.raises(TokensError):
                stream.push(bad)
        pieces.append(stream.push(tokens[:, 20:]))
    assert snr_db(causal.decode(tokens), np.concatenate(pieces)) > 120
    with causal.encode_stream(22050) as recorder:
        for wrong in (np.array([np.nan]), np.zeros(4, np.int16), np.zeros((2, 4))):
            with pytest.raises(AudioError):
                recorder.push(wrong)
        recorder.push(sound(causal, 9))
    with pytest.raises(TokensError, match="encodes into 4 codebooks, got 2"):
        causal.encode_stream(22050, num_codebooks=2)


def test_a_closed_stream_says_so_and_closes_again(codec: Codec) -> None:
    stream = codec.decode_stream()
    stream.push(tokens_of(codec, 5))
    assert len(stream.close()) == 0 or not codec.info.causal
    assert len(stream.close()) == 0
    with pytest.raises(StreamClosedError, match="open another"):
        stream.push(tokens_of(codec, 1))
    with codec.decode_stream() as unused:
        assert len(unused.close()) == 0


def left_in_the_middle(codec: Codec) -> None:
    with suppress(ZeroDivisionError), codec.decode_stream() as stream:
        stream.push(tokens_of(codec, 1))
        raise ZeroDivisionError


def dropped_iterator(codec: Codec) -> None:
    audio = codec.stream(iter(tokens_of(codec).T))
    next(audio)
    audio.close()


def cancelled_task(codec: Codec) -> None:
    async def cancelled() -> None:
        async with AsyncCodec(codec.name, codec._transport.url) as remote, remote.decode_stream() as stream:
            await stream.push(tokens_of(codec, 1))
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(stream.push(tokens_of(codec, 5000)), 0.001)
            with pytest.raises(StreamClosedError, match="in the middle of a request"):
                await stream.push(tokens_of(codec, 1))

    asyncio.run(cancelled())


@pytest.mark.parametrize("leave", [left_in_the_middle, dropped_iterator, cancelled_task])
def test_a_stream_that_is_left_is_ended_on_the_server(leave: Callable[[Codec], None], causal: Codec) -> None:
    """Far more of them than the server keeps at a time."""
    for _ in range(70):
        leave(causal)
    left_in_the_middle(causal)


def test_a_full_server_says_so_and_takes_the_next_when_one_ends(causal: Codec) -> None:
    tokens = tokens_of(causal, 2)
    with ExitStack() as stack:
        streams = [
            stack.enter_context(causal.decode_stream()) for _ in range(stream_limits(causal).max_streams + 1)
        ]
        *served, refused = streams
        for stream in served:
            stream.push(tokens)
        for _ in range(2):
            with pytest.raises(ServerFullError, match="takes no more streams now"):
                refused.push(tokens)
        served[0].close()
        with causal.decode_stream() as stream:
            assert len(stream.push(tokens)) == 2 * causal.info.samples_per_frame


def test_a_stream_that_was_idle_for_too_long_is_told(causal: Codec) -> None:
    with causal.decode_stream() as stream:
        stream.push(tokens_of(causal, 1))
        time.sleep(1.5 * stream_limits(causal).idle_limit_ms / 1000)
        with pytest.raises(StreamLostError, match="idle for too long"):
            stream.push(tokens_of(causal, 1))
        with pytest.raises(StreamLostError):
            stream.push(tokens_of(causal, 1))


def test_what_the_server_refuses_ends_the_stream_with_its_reason(
    causal: Codec, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = causal.decode_stream()
    stream.push(tokens_of(causal, 1))
    monkeypatch.setattr(stream._live._intake, "taken", lambda data: data)  # or the client would refuse it
    with pytest.raises(ServerRefusedError, match=r"0\.\.4031"):
        stream.push(np.full((4, 1), 4032))
    monkeypatch.undo()
    with pytest.raises(ServerRefusedError, match=r"0\.\.4031"):
        stream.push(tokens_of(causal, 1))
    assert len(stream.close()) == 0


def at_once(stream: Stream[np.float32], codec: Codec) -> None:
    """A typed error, soon, from the push and from all that follow; closing does not hang."""
    begun = time.monotonic()
    for _ in range(2):
        with pytest.raises(ServerUnavailableError):
            stream.push(tokens_of(codec, 1))
    stream.close()
    assert time.monotonic() - begun < 5


def test_a_server_that_dies_is_told_at_once(mortal: TritonServer) -> None:
    with Codec(NAME, mortal.url) as codec:
        stream = codec.decode_stream()
        stream.push(tokens_of(codec, 1))
        os.kill(mortal.pid, signal.SIGKILL)
        mortal.wait()
        at_once(stream, codec)


def test_a_server_told_to_stop_lets_streams_end_and_takes_no_new_ones(mortal: TritonServer) -> None:
    with Codec(NAME, mortal.url) as codec, codec.decode_stream() as stream:
        tokens = tokens_of(codec, 9)
        whole, pieces = codec.decode(tokens), [stream.push(tokens[:, :4])]
        os.kill(mortal.pid, signal.SIGTERM)
        time.sleep(1)
        at_once(codec.decode_stream(), codec)
        pieces.append(stream.push(tokens[:, 4:]))
    assert snr_db(whole, np.concatenate(pieces)) > 120


def test_a_server_that_does_not_answer_is_told_after_the_timeout(mortal: TritonServer) -> None:
    with Codec(NAME, mortal.url, timeout_s=1) as codec:
        stream = codec.decode_stream()
        stream.push(tokens_of(codec, 1))
        os.kill(mortal.pid, signal.SIGSTOP)
        time.sleep(0.2)  # its threads stop one by one
        try:
            at_once(stream, codec)
        finally:
            os.kill(mortal.pid, signal.SIGCONT)


@pytest.mark.parametrize("name", CAUSAL)
def test_inputs_much_longer_than_the_context_go_through_a_stream(
    name: str, server: TritonServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Codec(name, server.url) as codec:
        tokens = tokens_of(codec, 200)
        whole = codec.decode(tokens)
        monkeypatch.setattr(codec_module, "_LONGEST_REQUEST_S", 9 / codec.info.frame_rate_hz)
        monkeypatch.setattr("tritone_client.offline._in_windows", None)
        pieces = codec.decode([tokens, tokens[:, :50]])
    assert snr_db(whole, pieces[0]) > 120
    assert snr_db(whole[: len(pieces[1])], pieces[1]) > 120
