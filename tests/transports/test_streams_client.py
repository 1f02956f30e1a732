"""Live streams: for chunks of any size, they give the same as the whole input."""

import asyncio
from contextlib import ExitStack
from itertools import pairwise

import numpy as np
import pytest
import soxr
from helpers.comparison import against_whole
from helpers.place import Place
from helpers.servers.raw import comes_true, counted
from helpers.signals import sound, tokens_of
from numpy.typing import NDArray

from scripts.common.small_codecs import CAUSAL
from tritone_client import AsyncCodec, AudioError, Codec, TokensError, WholeUtterancesError
from tritone_client.codec_models import Role
from tritone_server.launcher import TritonServer

NAME, WHOLE_ONLY = "small_nanocodec", "small_higgs_v2"
CUTS = {
    "one frame each": list(range(1, 61)),
    "uneven": [1, 3, 4, 17, 18, 45],
    "one piece": [],
    "nearly everything first": [59],
}


@pytest.mark.parametrize("cuts", CUTS.values(), ids=CUTS)
def test_decoding_however_it_is_cut_equals_the_whole(codec: Codec, cuts: list[int]) -> None:
    tokens = tokens_of(codec.info)
    with codec.decode_stream() as stream:
        pieces = [stream.push(piece) for piece in np.split(tokens, cuts, axis=1) if piece.size]
        pieces.append(stream.close())
    joined = np.concatenate(pieces, axis=-1)
    assert joined.shape == codec.info.audio_shape(
        60 * codec.info.samples_per_frame - codec.info.short_samples
    )
    found = against_whole(codec, tokens, joined)
    assert found.ok, found


@pytest.mark.parametrize("chunk", [1, 7, 50, 333, 10**6])
def test_encoding_however_it_is_cut_equals_the_whole(codec: Codec, chunk: int) -> None:
    audio = sound(codec.info, 40.4)
    if codec.name == WHOLE_ONLY:
        with (
            pytest.raises(WholeUtterancesError),
            codec.encode_stream(codec.info.encode_sample_rate_hz) as stream,
        ):
            stream.push(audio)
        return
    with codec.encode_stream(codec.info.encode_sample_rate_hz) as stream:
        starts = range(0, audio.shape[-1], chunk)
        pieces = [stream.push(audio[..., start : start + chunk]) for start in starts]
        pieces.append(stream.close())
    assert np.array_equal(
        np.concatenate(pieces, axis=1), codec.encode(audio, codec.info.encode_sample_rate_hz)
    )


@pytest.mark.parametrize("model", [f"{name}_decode_stream" for name in CAUSAL] + ["small_mimi_encode_stream"])
def test_where_the_server_keeps_streams_they_go_there(model: str, server: TritonServer) -> None:
    """Otherwise the comparisons above would compare the stateless model with itself."""
    before = counted(server, "stream_steps_total", model)
    with Codec(model.removesuffix("_stream").rpartition("_")[0], server.url) as codec:
        if model.endswith("_decode_stream"):
            list(codec.stream(tokens_of(codec.info, 9).T))
        else:
            with codec.encode_stream(codec.info.encode_sample_rate_hz) as stream:
                for frame in np.split(sound(codec.info, 9), 9, axis=-1):
                    stream.push(frame)
    assert comes_true(lambda: counted(server, "stream_steps_total", model) >= before + 9)


def test_audio_comes_at_once_or_as_late_as_the_codec_looks_ahead(codec: Codec) -> None:
    """By whole frames where the client sends windows; where the model waits, by what its layers pad."""
    hop, limits = codec.info.samples_per_frame, codec.stream_info
    late = hop * codec.info.lookaround_frames if limits is None else limits.late_steps
    with codec.decode_stream() as stream:
        given = [stream.push(frame).shape for frame in tokens_of(codec.info).T]
        rest = stream.close()
    said = np.maximum(hop * np.arange(61) - late, 0)
    assert given == [codec.info.audio_shape(samples) for samples in np.diff(said)]
    assert rest.shape == codec.info.audio_shape(late - codec.info.short_samples)


def test_a_stream_shorter_than_the_codec_takes_is_reported_at_the_end(place: Place) -> None:
    with Codec("small_lfsc", place) as codec:
        stream = codec.decode_stream()
        assert len(stream.push(tokens_of(codec.info, 3))) == 0
        with pytest.raises(TokensError, match="at least 4 frame"):
            stream.close()
        recorder = codec.encode_stream(codec.info.encode_sample_rate_hz)
        recorder.push(np.zeros(codec.info.min_samples - 1))
        with pytest.raises(AudioError, match="append silence"):
            recorder.close()


def test_an_iterator_of_tokens_becomes_an_iterator_of_audio(codec: Codec) -> None:
    tokens = tokens_of(codec.info)
    pieces = list(codec.stream(iter(tokens.T)))
    assert all(piece.shape[-1] for piece in pieces)
    found = against_whole(codec, tokens, np.concatenate(pieces, axis=-1))
    assert found.ok, found


def test_asyncio_gives_the_same(codec: Codec, place: Place) -> None:
    tokens, audio, rate_hz = tokens_of(codec.info), sound(codec.info, 20.5), codec.info.encode_sample_rate_hz

    async def played(remote: AsyncCodec, delay_s: float) -> NDArray[np.float32]:
        pieces = []
        async with remote.decode_stream() as stream:
            for frame in tokens.T:
                pieces.append(await stream.push(frame))
                await asyncio.sleep(delay_s)
            pieces.append(await stream.close())
        return np.concatenate(pieces, axis=-1)

    async def everything() -> None:
        async with AsyncCodec(codec.name, place) as remote:
            assert remote.info == codec.info
            for result in await asyncio.gather(*(played(remote, 0.001 * index) for index in range(4))):
                assert against_whole(codec, tokens, result).ok
            if codec.name != WHOLE_ONLY:
                async with remote.encode_stream(rate_hz) as stream:
                    pieces = [
                        await stream.push(audio[..., :500]),
                        await stream.push(audio[..., 500:]),
                        await stream.close(),
                    ]
                assert np.array_equal(np.concatenate(pieces, axis=1), codec.encode(audio, rate_hz))
            streamed = np.concatenate([piece async for piece in remote.stream(tokens.T)], axis=-1)
            assert against_whole(codec, tokens, streamed).ok
            assert against_whole(codec, tokens, await remote.decode(tokens)).ok
            assert np.array_equal(await remote.encode(audio, rate_hz), codec.encode(audio, rate_hz))

    asyncio.run(everything())


def test_streams_beside_each_other_do_not_mix(causal: Codec) -> None:
    many = [tokens_of(causal.info, 30, seed) for seed in range(5)]
    with ExitStack() as stack:
        streams = [stack.enter_context(causal.decode_stream()) for _ in many]
        pieces = [
            [stream.push(tokens[:, start:stop]) for stream, tokens in zip(streams, many, strict=True)]
            for start, stop in pairwise([0, 1, 5, 6, 30])
        ]
    for index, tokens in enumerate(many):
        joined = np.concatenate([piece[index] for piece in pieces])
        others = [causal.decode(each) for each in many if each is not tokens]
        found = against_whole(causal, tokens, joined, others=others)
        assert found.ok, found


def test_another_sample_rate_is_converted_as_it_comes(causal: Codec) -> None:
    audio = sound(causal.info, 100)
    with causal.encode_stream(44100) as stream:
        pieces = [stream.push(piece) for piece in np.array_split(audio, 9)] + [stream.close()]
    whole = soxr.ResampleStream(44100, 22050, 1, dtype="float32").resample_chunk(audio, last=True)
    assert np.array_equal(np.concatenate(pieces, axis=1), causal.encode(whole, 22050))


@pytest.mark.parametrize("name", CAUSAL)
def test_inputs_much_longer_than_the_context_go_through_a_stream(
    name: str, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Codec(name, place) as codec:
        tokens = tokens_of(codec.info, 200)
        whole = codec.decode(tokens)
        monkeypatch.setattr(Role, "longest_frames", lambda role, info: 9)
        monkeypatch.setattr("tritone_client.offline._in_windows", None)
        pieces = codec.decode([tokens, tokens[:, :50]])
        for piece, frames in zip(pieces, (200, 50), strict=True):
            expected = whole[..., : frames * codec.info.samples_per_frame]
            found = against_whole(codec, tokens[:, :frames], piece, expected)
            assert found.ok, found
