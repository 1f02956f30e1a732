"""Audio as INT16, mu-law and A-law, at other rates, in wholes and streams, on a server and in process."""

import sys
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import soxr
from helpers.both_clients import BlockingCodec, Client
from helpers.place import Place
from helpers.signals import sound, tokens_of
from numpy.typing import NDArray

from tritone_client import AudioError, AudioFormatError, Codec, MissingExtraError
from tritone_client.formats.g711 import LAWS, codes_of
from tritone_client.formats.samples import float32_of, int16_of
from tritone_runtime.fidelity import snr_db


@pytest.fixture(params=["threads", "asyncio"])
def client(request: pytest.FixtureRequest, place: Place) -> Iterator[Client]:
    if request.param == "threads":
        with Codec("small_nanocodec", place) as codec:
            yield codec
        return
    blocking = BlockingCodec("small_nanocodec", place)
    yield blocking
    blocking.end()


def streamed(codec: Any, tokens: NDArray[np.int64], **options: Any) -> NDArray[Any]:
    with codec.decode_stream(**options) as stream:
        pieces = [stream.push(piece) for piece in np.array_split(tokens, 9, axis=1)] + [stream.close()]
    return np.concatenate(pieces, axis=-1)


def test_int16_is_the_rounded_fp32_of_every_codec(codec: Codec) -> None:
    tokens = tokens_of(codec.info)
    whole = codec.decode(tokens, dtype="int16")
    assert whole.dtype == np.int16
    assert np.array_equal(whole, int16_of(codec.decode(tokens)))
    live = streamed(codec, tokens, dtype="int16")
    assert live.dtype == np.int16
    assert np.array_equal(live, int16_of(streamed(codec, tokens)))


@pytest.mark.parametrize("law", LAWS)
def test_codes_of_telephony_are_those_of_int16(client: Client, law: str) -> None:
    tokens = tokens_of(client.info, 20)
    linear = client.decode(tokens, dtype="int16")
    assert np.array_equal(client.decode(tokens, dtype=law), codes_of(linear, law))
    live = streamed(client, tokens, dtype=law)
    assert live.dtype == np.uint8
    assert np.array_equal(live, codes_of(streamed(client, tokens, dtype="int16"), law))
    pieces = list(client.stream(tokens.T, dtype=law))
    assert sum(map(len, pieces)) == len(live)


@pytest.mark.parametrize("rate_hz", [8000, 44100])
def test_another_rate_in_a_stream_equals_that_of_the_whole(codec: Codec, rate_hz: int) -> None:
    tokens = tokens_of(codec.info)
    audio = streamed(codec, tokens)
    whole = soxr.resample(audio.T, codec.info.sample_rate_hz, rate_hz).T
    live = streamed(codec, tokens, sample_rate_hz=rate_hz)
    assert live.shape == whole.shape
    assert snr_db(whole, live) > 100
    at_once = codec.decode(tokens, rate_hz)
    assert snr_db(at_once[..., : live.shape[-1]], live[..., : at_once.shape[-1]]) > 100
    linear = streamed(codec, tokens, sample_rate_hz=rate_hz, dtype="int16")
    assert np.array_equal(linear, int16_of(live))


def test_how_late_audio_is_at_most_is_said(client: Client) -> None:
    hop, rate_hz = client.info.samples_per_frame, client.info.sample_rate_hz
    with client.decode_stream() as stream:
        assert delay_of(stream) == 0
    with client.decode_stream(sample_rate_hz=8000) as stream:
        given = taken = 0.0
        for frame in tokens_of(client.info, 200).T:
            given += hop / rate_hz
            taken += len(stream.push(frame)) / 8000
            assert 1000 * (given - taken) <= delay_of(stream) + 1
        assert 0 < delay_of(stream) < 150


def delay_of(stream: Any) -> float:
    return float(getattr(stream, "stream", stream).delay_ms)


def test_streams_of_a_codec_that_looks_ahead_say_how_late_they_are(place: Place) -> None:
    for name in ("small_lfsc", "small_snac_24khz"):
        with Codec(name, place) as codec, codec.decode_stream() as stream:
            info, limits = codec.info, codec.stream_info
            steps = info.lookaround_frames * info.samples_per_frame if limits is None else limits.late_steps
            assert stream.delay_ms == pytest.approx(1000 * steps / info.sample_rate_hz)
            assert stream.delay_ms > 0


def test_samples_at_full_scale_are_counted(client: Client) -> None:
    with client.decode_stream(dtype="int16") as stream:
        audio = stream.push(tokens_of(client.info, 20))
        counted: Any = getattr(stream, "stream", stream)
        assert counted.clipped == np.count_nonzero(np.abs(audio) == 32767)


@pytest.mark.parametrize("dtype", ["int16", *LAWS])
def test_encoding_takes_the_same_types(client: Client, dtype: str) -> None:
    linear = int16_of(sound(client.info, 20))
    given = codes_of(linear, dtype) if dtype in LAWS else linear
    floats = float32_of(given, dtype)
    expected = client.encode(floats, 22050)
    assert np.array_equal(client.encode(given, 22050, dtype=dtype), expected)
    assert np.array_equal(client.encode([given], 22050, dtype=dtype)[0], expected)
    with client.encode_stream(22050, dtype=dtype) as stream:
        pieces = [stream.push(piece) for piece in np.array_split(given, 5)] + [stream.close()]
    assert np.array_equal(np.concatenate(pieces, axis=1), expected)


def test_the_telephones_rate_is_encoded_as_it_comes(client: Client) -> None:
    audio = int16_of(sound(client.info, 100))
    with client.encode_stream(8000, dtype="int16") as stream:
        pieces = [stream.push(piece) for piece in np.array_split(audio, 30)]
        assert delay_of(stream) > 0
        pieces.append(stream.close())
    floats = audio.astype(np.float32) / 32768
    whole = soxr.ResampleStream(8000, 22050, 1, dtype="float32").resample_chunk(floats, last=True)
    assert np.array_equal(np.concatenate(pieces, axis=1), client.encode(whole, 22050))


UNKNOWN: dict[str, tuple[Callable[[Any], Any], str]] = {
    "dtype of a whole": (
        lambda codec: codec.decode(np.zeros((4, 3), int), dtype="int8"),
        "int16, mulaw, alaw",
    ),
    "dtype of a stream": (lambda codec: codec.decode_stream(dtype="opus"), "int16, mulaw, alaw"),
    "dtype of an iterator": (lambda codec: codec.stream([], dtype=16), "int16, mulaw, alaw"),
    "dtype to encode": (lambda codec: codec.encode(np.zeros(99), 22050, dtype="pcm"), "int16, mulaw, alaw"),
    "dtype of a recording": (lambda codec: codec.encode_stream(22050, dtype="pcm"), "int16, mulaw, alaw"),
    "rate": (lambda codec: codec.decode_stream(sample_rate_hz=100), r"4000\.\.192000 Hz \(8000, 16000"),
}


@pytest.mark.parametrize(("ask", "message"), UNKNOWN.values(), ids=UNKNOWN)
def test_what_there_is_not_is_refused_with_what_there_is(
    client: Client, ask: Callable[[Any], Any], message: str
) -> None:
    with pytest.raises(AudioFormatError, match=message):
        ask(client)


def test_a_piece_of_another_type_leaves_the_stream_as_it_was(client: Client) -> None:
    with client.encode_stream(22050, dtype="mulaw") as stream:
        with pytest.raises(AudioError, match=r"'mulaw' is integers 0\.\.255, got float64; leave out dtype"):
            stream.push(np.zeros(500))
        assert stream.push(np.full(490, 255, np.uint8)).shape[0] == 4


def test_another_rate_needs_the_audio_extra_and_int16_does_not(
    causal: Codec, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "soxr", None)
    tokens = tokens_of(causal.info, 3)
    assert causal.decode(tokens, dtype="int16").dtype == np.int16
    for ask in (
        lambda: causal.decode(tokens, 8000),
        lambda: causal.decode_stream(sample_rate_hz=8000),
    ):
        with pytest.raises(MissingExtraError, match=r"tritone-client\[audio\]"):
            ask()
