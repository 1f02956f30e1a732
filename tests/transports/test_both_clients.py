"""Codec and AsyncCodec have the same arguments, results and errors: every test here runs with both."""

import inspect
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import numpy as np
import pytest
import torch
from helpers.both_clients import BlockingCodec, Client
from helpers.place import Place
from helpers.signals import sound, tokens_of

from tritone_client import (
    AsyncCodec,
    AudioError,
    Codec,
    CodecNotOpenError,
    StreamClosedError,
    TokensError,
    TritoneError,
)
from tritone_runtime.fidelity import snr_db

NAME = "small_nanocodec"


@pytest.fixture(params=["threads", "asyncio"])
def client(request: pytest.FixtureRequest, place: Place) -> Iterator[Client]:
    if request.param == "threads":
        with Codec(NAME, place) as codec:
            yield codec
        return
    blocking = BlockingCodec(NAME, place)
    yield blocking
    blocking.end()


def test_both_have_the_same_methods_with_the_same_parameters() -> None:
    def shape(kind: type) -> dict[str, Any]:
        return {
            name: None if isinstance(member, property) else list(inspect.signature(member).parameters)
            for name, member in inspect.getmembers(kind)
            if not name.startswith("_")
        } | {"": list(inspect.signature(kind).parameters)}

    assert shape(AsyncCodec) == shape(Codec)


def test_a_list_of_utterances_comes_back_as_a_list(client: Client, causal: Codec) -> None:
    many = [tokens_of(causal.info, frames) for frames in (9, 4, 30)]
    decoded = client.decode(many)
    assert [len(audio) for audio in decoded] == [49 * 9, 49 * 4, 49 * 30]
    for audio, tokens in zip(decoded, many, strict=True):
        assert snr_db(causal.decode(tokens), audio) > 120
    audio = [sound(causal.info, frames) for frames in (20.5, 9)]
    for tokens, each in zip(client.encode(audio, 22050), audio, strict=True):
        assert np.array_equal(tokens, causal.encode(each, 22050))
    assert client.decode([]) == client.encode([], 22050) == []


def test_one_utterance_comes_back_alone(client: Client, causal: Codec) -> None:
    tokens = tokens_of(causal.info, 20)
    expected = causal.decode(tokens)
    for given in (tokens, tokens.tolist(), list(tokens), torch.tensor(tokens)):
        audio = client.decode(given)
        assert isinstance(audio, np.ndarray)
        assert snr_db(expected, audio) > 120
    assert [len(audio) for audio in client.decode((torch.tensor(tokens),))] == [20 * 49]
    samples = sound(causal.info, 20)
    for given in (samples, samples.tolist(), torch.tensor(samples)):
        assert np.array_equal(client.encode(given, 22050), causal.encode(samples, 22050))


def test_streams_take_what_numpy_can_view(client: Client, causal: Codec) -> None:
    tokens = tokens_of(causal.info, 12)
    with client.decode_stream() as stream:
        pieces = [stream.push(torch.tensor(tokens[:, :4])), stream.push(tokens[:, 4:8].tolist())]
        pieces += [stream.push(frame.tolist()) for frame in tokens[:, 8:].T]
    assert snr_db(causal.decode(tokens), np.concatenate(pieces)) > 120
    streamed = np.concatenate(list(client.stream(torch.tensor(tokens.T))))
    assert snr_db(causal.decode(tokens), streamed) > 120
    samples = sound(causal.info, 12)
    with client.encode_stream(22050) as recorder:
        given = [recorder.push(torch.tensor(samples[:300])), recorder.push(samples[300:].tolist())]
        given.append(recorder.close())
    assert np.array_equal(np.concatenate(given, axis=1), causal.encode(samples, 22050))


def bad_tokens(client: Client) -> Any:
    good = tokens_of(client.info, 9)
    return client.decode([good, good, good + 4032, good])


def strange_tokens(client: Client) -> Any:
    nothing: Any = None
    return client.decode([tokens_of(client.info, 9), tokens_of(client.info, 9), nothing])


def bad_audio(client: Client) -> Any:
    good = sound(client.info, 20)
    return client.encode([good, good, np.full(2000, np.nan)], 22050)


@pytest.mark.parametrize(
    ("ask", "error", "message"),
    [
        (
            bad_tokens,
            TokensError,
            r"utterance 2 of 4, counted from 0: tokens of small_nanocodec are 0\.\.4031",
        ),
        (strange_tokens, TokensError, "utterance 2 of 3.*got NoneType"),
        (bad_audio, AudioError, "utterance 2 of 3.*must be finite"),
    ],
)
def test_one_bad_utterance_among_many_is_named(
    ask: Callable[[Client], Any], error: type[TritoneError], message: str, client: Client
) -> None:
    with pytest.raises(error, match=message) as caught:
        ask(client)
    assert getattr(caught.value, "utterance", None) == 2


def test_what_is_wrong_with_a_single_utterance_needs_no_index(client: Client) -> None:
    with pytest.raises(TokensError, match=r"^small_nanocodec takes tokens") as caught:
        client.decode(tokens_of(client.info, 9)[:2])
    assert caught.value.utterance is None
    with pytest.raises(
        AudioError, match=r"^audio is one channel \[S\], got \[4, 9\]; if these int64 are tokens"
    ):
        client.encode(tokens_of(client.info, 9), 22050)
    with pytest.raises(TokensError, match="if that is audio, encode it"):
        client.decode(sound(client.info, 9))


def test_what_is_wrong_with_a_piece_is_reported_and_the_stream_goes_on(client: Client, causal: Codec) -> None:
    tokens, samples = tokens_of(causal.info, 20), sound(causal.info, 9)
    no_tokens: list[Any] = [None, "tokens.npy", {"codes": tokens}, [[1], [2, 3]], tokens[None], samples]
    with client.decode_stream() as stream:
        pieces = [stream.push(tokens[:, :10])]
        for strange in no_tokens:
            with pytest.raises(TokensError):
                stream.push(strange)
        pieces.append(stream.push(tokens[:, 10:]))
    assert snr_db(causal.decode(tokens), np.concatenate(pieces)) > 120
    no_audio: list[Any] = [None, b"1234", tokens, [[0.5]]]
    with client.encode_stream(22050) as recorder:
        for strange in no_audio:
            with pytest.raises(AudioError):
                recorder.push(strange)
        recorder.push(samples)


def test_the_limits_of_streams_are_the_same(client: Client, causal: Codec) -> None:
    assert client.stream_info == causal.stream_info is not None


CALLS: dict[str, Callable[[Client], Any]] = {
    "decode": lambda client: client.decode(np.zeros((4, 3), int)),
    "decode many": lambda client: client.decode([np.zeros((4, 3), int)]),
    "encode": lambda client: client.encode(np.zeros(2000), 22050),
    "decode_stream": lambda client: client.decode_stream(),
    "encode_stream": lambda client: client.encode_stream(22050),
    "stream": lambda client: list(client.stream([np.zeros(4, int)])),
    "stream_info": lambda client: client.stream_info,
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_a_codec_that_was_closed_says_so(call: Callable[[Client], Any], client: Client) -> None:
    client.close()
    client.close()
    for _ in range(2):
        with pytest.raises(
            CodecNotOpenError, match=r"Codec\('small_nanocodec'\) was closed; open another one"
        ):
            call(client)
    assert client.info.name == NAME, "facts stay"


def test_streams_outlive_their_codec(client: Client, causal: Codec) -> None:
    tokens = tokens_of(causal.info, 9)
    with client.decode_stream() as stream:
        received = [stream.push(tokens[:, :4])]
        client.close()
        received += [stream.push(tokens[:, 4:]), stream.close()]
    assert snr_db(causal.decode(tokens), np.concatenate(received)) > 120


def test_a_stream_that_was_closed_says_so(client: Client) -> None:
    stream = client.decode_stream()
    stream.push(np.zeros((4, 3), int))
    assert len(stream.close()) == len(stream.close()) == 0
    with pytest.raises(StreamClosedError, match="open another one"):
        stream.push(np.zeros((4, 3), int))


def test_a_stream_that_could_not_begin_says_why_again(client: Client) -> None:
    fast: Any = "fast"
    for _ in range(2):
        with (
            pytest.raises(TokensError, match="encodes into 4 codebooks, got 2"),
            client.encode_stream(22050, 2),
        ):
            pass
        with pytest.raises(AudioError, match="a sample rate is a positive"), client.encode_stream(fast):
            pass


def test_a_codec_goes_on_after_an_error(client: Client, causal: Codec) -> None:
    tokens = tokens_of(causal.info, 9)
    for wrong in (tokens[:1], [tokens, tokens + 4032]):
        with pytest.raises(TritoneError):
            client.decode(wrong)
    with suppress(ZeroDivisionError), client.decode_stream() as stream:
        stream.push(tokens)
        raise ZeroDivisionError
    with pytest.raises(StreamClosedError):
        stream.push(tokens)
    assert snr_db(causal.decode(tokens), client.decode(tokens)) > 120
