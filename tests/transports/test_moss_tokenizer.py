"""The tensors of MOSS's published ONNX files."""

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from helpers.place import Place

from tritone_client import AudioError, Codec, TokensError
from tritone_client.adapters.moss import MossTokenizer

NAME = "small_moss"


@pytest.fixture
def tokenizer(place: Place) -> Iterator[MossTokenizer]:
    with MossTokenizer(NAME, place) as opened:
        yield opened


def test_codes_have_the_codebooks_first_and_rows_their_own_lengths(
    tokenizer: MossTokenizer, place: Place
) -> None:
    sound = 0.1 * np.random.default_rng(0).standard_normal((2, 1, 170)).astype(np.float32)
    codes, lengths = tokenizer.encode(sound, np.array([170, 80]), n_quantizers=8)
    assert (codes.shape, lengths.tolist()) == ((8, 2, 11), [11, 5])
    with Codec(NAME, place) as codec:
        assert np.array_equal(codes[:, 1, :5], codec.encode(sound[1, 0, :80], 400, 8))
        audio, samples = tokenizer.decode(codes.astype(np.int32), lengths)
        assert (audio.shape, samples.tolist()) == ((2, 1, 176), [176, 80])
        assert np.array_equal(audio[1, 0, :80], codec.decode(codes[:, 1, :5]))
    assert not audio[1, 0, 80:].any()


def test_one_row_needs_no_batch_axis(tokenizer: MossTokenizer) -> None:
    codes = np.arange(12).reshape(4, 3)
    assert np.array_equal(tokenizer.decode(codes)[0], tokenizer.decode(codes[:, None])[0])


def test_tensors_of_pytorch_are_taken(tokenizer: MossTokenizer) -> None:
    sound = 0.1 * np.random.default_rng(0).standard_normal((2, 1, 170)).astype(np.float32)
    expected, _ = tokenizer.encode(sound, np.array([170, 80]))
    codes, lengths = tokenizer.encode(torch.tensor(sound), torch.tensor([170, 80]))
    assert np.array_equal(codes, expected)
    audio, _ = tokenizer.decode(torch.tensor(codes), torch.tensor(lengths))
    assert np.array_equal(audio, tokenizer.decode(codes, lengths)[0])


def test_what_does_not_fit_is_refused_in_words(tokenizer: MossTokenizer) -> None:
    codes = np.zeros((2, 1, 3), np.int64)
    with pytest.raises(TokensError, match=r"audio_codes is \[nq, B, T\]"):
        tokenizer.decode(codes[0, 0])
    with pytest.raises(TokensError, match=r"are 0\.\.127, got 128"):
        tokenizer.decode(codes + 128)
    with pytest.raises(TokensError, match="lengths are one per row, of 1, and at most 3"):
        tokenizer.decode(codes, np.array([4]))
    with pytest.raises(TokensError, match="lengths are one per row, of 1, and at most 3"):
        tokenizer.decode(codes, np.array([1.5]))
    with pytest.raises(TokensError, match="a batch of no rows"):
        tokenizer.decode(codes[:, :0])
    with pytest.raises(AudioError, match="a batch of no rows"):
        tokenizer.encode(np.zeros((0, 99), np.float32))
    with pytest.raises(TokensError, match=r"utterance 1 of 2.*got 128"):
        tokenizer.decode(np.concatenate([codes, codes + 128], axis=1))
    with pytest.raises(TokensError, match=r"takes tokens \[1..32, T\]"):
        tokenizer.decode(np.zeros((33, 1, 3), np.int64))
    with pytest.raises(AudioError, match=r"input_values is \[B, 1, S\]"):
        tokenizer.encode(np.zeros((1, 2, 99), np.float32))
    for number in (0, 33):
        with pytest.raises(TokensError, match=r"1..32 codebooks"):
            tokenizer.encode(np.zeros((1, 99), np.float32), n_quantizers=number)
