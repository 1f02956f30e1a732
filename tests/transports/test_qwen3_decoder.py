"""The calls of Qwen3-TTS's package and of the serving engines' decoder stage."""

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from helpers.place import Place
from numpy.typing import NDArray

from scripts.common.small_codecs import SMALL
from tritone_client import Codec, StreamClosedError, TokensError
from tritone_client.qwen3 import END_OF_SPEECH, Qwen3TokenizerDecoder, frames_of_payload

NAME = "small_qwen3_tts_12hz"
SIZE, BOOKS = SMALL[NAME]["decoder_config"]["codebook_size"], 16
DRAWN = np.random.default_rng(0).integers(0, SIZE, (60, BOOKS))
CODES, REFERENCE = DRAWN[:25], DRAWN[25:40]


@pytest.fixture
def decoder(place: Place) -> Iterator[Qwen3TokenizerDecoder]:
    with Qwen3TokenizerDecoder(NAME, place) as opened:
        yield opened


@pytest.fixture
def whole(place: Place) -> NDArray[np.float32]:
    with Codec(NAME, place) as codec:
        return codec.decode(CODES.T)


@pytest.mark.parametrize(
    "given",
    [
        CODES,
        CODES.tolist(),
        CODES[None],
        torch.tensor(CODES),
        [CODES],
        {"audio_codes": CODES},
        [{"audio_codes": torch.tensor(CODES)}],
        SimpleNamespace(audio_codes=[torch.tensor(CODES)]),
    ],
)
def test_every_form_that_the_package_takes_gives_the_same_audio(
    decoder: Qwen3TokenizerDecoder, whole: NDArray[np.float32], given: Any
) -> None:
    wavs, rate_hz = decoder.decode(given)
    assert rate_hz == decoder.sample_rate
    (audio,) = wavs
    assert np.array_equal(audio, whole)


def test_rows_of_a_padded_batch_have_their_own_lengths(decoder: Qwen3TokenizerDecoder) -> None:
    batch = np.full((2, 25, BOOKS), -1)
    batch[0], batch[1, :10] = CODES, REFERENCE[:10]
    (long, short), _ = decoder.decode(batch)
    assert (len(long), len(short)) == (25 * decoder.total_upsample, 10 * decoder.total_upsample)
    assert np.array_equal(short, decoder.decode(REFERENCE[:10])[0][0])


def test_a_frame_of_zeros_is_a_frame(decoder: Qwen3TokenizerDecoder) -> None:
    silent = CODES.copy()
    silent[[0, 7]] = 0
    assert len(decoder.decode(silent)[0][0]) == 25 * decoder.total_upsample


def test_the_end_of_speech_ends_an_utterance_and_is_not_decoded(
    decoder: Qwen3TokenizerDecoder, whole: NDArray[np.float32]
) -> None:
    ended = CODES.copy()
    ended[20, 0] = END_OF_SPEECH
    ended[21:] = SIZE + 900  # what comes after the end is never looked at
    (audio,), _ = decoder.decode(ended)
    assert len(audio) == 20 * decoder.total_upsample
    assert np.allclose(audio, whole[: len(audio)], atol=1e-4)


def test_a_stream_equals_the_whole_and_stops_at_the_end_of_speech(
    decoder: Qwen3TokenizerDecoder, whole: NDArray[np.float32]
) -> None:
    last = CODES[20:22].copy()
    last[1, 0] = END_OF_SPEECH
    with decoder.stream() as stream:
        pieces = [stream.push(CODES[0]), stream.push(CODES[1:5]), stream.push(torch.tensor(CODES[5:20]))]
        assert not stream.ended
        pieces += [stream.push(last), stream.push(CODES[22:])]
        assert stream.ended
    audio = np.concatenate(pieces)
    assert len(audio) == 21 * decoder.total_upsample
    assert np.allclose(audio, whole[: len(audio)], atol=1e-4)


def test_reference_codes_come_before_the_utterance_and_are_not_heard(decoder: Qwen3TokenizerDecoder) -> None:
    both, _ = decoder.decode(np.concatenate([REFERENCE, CODES]))
    expected = both[0][15 * decoder.total_upsample :]
    (audio,), _ = decoder.decode(CODES, REFERENCE)
    assert np.array_equal(audio, expected)
    with decoder.stream(REFERENCE) as stream:
        heard = np.concatenate([stream.push(frame) for frame in CODES])
    assert np.allclose(heard, expected, atol=1e-4)
    assert not np.allclose(heard, decoder.decode(CODES)[0][0], atol=1e-2)


def test_a_flat_payload_holds_one_codebook_after_the_other() -> None:
    assert np.array_equal(frames_of_payload(CODES.T.ravel().tolist()), CODES)
    with pytest.raises(TokensError, match="the same number of codes for each of 16 codebooks, got 17"):
        frames_of_payload(list(range(17)))
    for wrong in (CODES, np.full(16, 1.5)):
        with pytest.raises(TokensError, match="a payload is a flat array of codes, integers"):
            frames_of_payload(wrong)


def test_an_ended_stream_has_given_its_place_back_and_a_closed_one_says_so(
    decoder: Qwen3TokenizerDecoder,
) -> None:
    end = np.full((1, BOOKS), 0)
    end[0, 0] = END_OF_SPEECH
    ended, closed = decoder.stream(), decoder.stream()
    ended.push(CODES[0])
    assert not len(ended.push(end))
    assert not len(ended.push(CODES))
    closed.push(CODES[0])
    closed.close()
    with pytest.raises(StreamClosedError):
        closed.push(CODES[1])


def test_a_wrong_reference_is_named_apart_and_does_not_move_the_frames(
    decoder: Qwen3TokenizerDecoder,
) -> None:
    wrong = CODES.copy()
    wrong[3, 2] = SIZE
    with pytest.raises(TokensError, match=f"^the reference: .* got {SIZE} in codebook 2, frame 3"):
        decoder.decode(CODES, wrong)
    with pytest.raises(TokensError, match=f"got {SIZE} in codebook 2, frame 3"):
        decoder.decode(wrong, REFERENCE)
    with pytest.raises(TokensError, match="the reference: no frames"):
        decoder.stream(np.full((4, BOOKS), -1))


@pytest.mark.parametrize("code", [SIZE, 2048, 2149, 2151, 4095, -1, -2])
@pytest.mark.parametrize("book", [0, 15])
def test_special_and_impossible_codes_are_refused(
    decoder: Qwen3TokenizerDecoder, code: int, book: int
) -> None:
    wrong = CODES.copy()
    wrong[3, book] = code
    with pytest.raises(TokensError, match=rf"0\.\.{SIZE - 1}, got {code} in codebook {book}, frame 3"):
        decoder.decode(wrong)
    with decoder.stream() as stream:
        first = stream.push(CODES[:3])
        with pytest.raises(TokensError, match=f"got {code} in codebook {book}, frame 0"):
            stream.push(wrong[3])
        rest = stream.push(CODES[3:])
    assert np.allclose(np.concatenate([first, rest]), decoder.decode(CODES)[0][0], atol=1e-4)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (CODES.T, r"\[T, 16\], got \[16, 25\]; if they are \[16, T\], pass their transpose"),
        (CODES[:, :15], r"\[T, 16\], got \[25, 15\]"),
        (np.zeros((25, 17), int), r"\[T, 16\], got \[25, 17\]"),
        (np.full((25, 16), -1), r"no frames: the codes are only padding \(-1\)"),
        ([CODES, np.full((5, 16), -1)], "utterance 1 of 2, counted from 0: no frames"),
        ([CODES, CODES[:, :3]], r"utterance 1 of 2, counted from 0: codes are \[T, 16\], got \[25, 3\]"),
        ([[], CODES.tolist()], r"utterance 0 of 2, counted from 0: codes are \[T, 16\], got \[0\]"),
        (CODES / 1.0, "codes are integers, got float64"),
        ({"codes": CODES}, "encoded speech has 'audio_codes', got codes"),
        ([], "no utterances"),
        (np.zeros((0, 25, 16), int), "no utterances"),
    ],
)
def test_what_is_no_utterance_is_refused_in_words(
    decoder: Qwen3TokenizerDecoder, given: Any, message: str
) -> None:
    with pytest.raises(TokensError, match=message):
        decoder.decode(given)
