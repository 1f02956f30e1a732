"""Whole inputs: the client gives the same results as the authors' code."""

import numpy as np
import pytest
import torch
from helpers.comparison import against_whole
from helpers.place import Place
from numpy.typing import NDArray

from scripts.common.rounding import limit_of
from scripts.common.small_codecs import SMALL
from scripts.peers import Reference
from tritone_build.codecs import base as codecs_module
from tritone_client import Codec, TokensError, served_codecs
from tritone_client.codec_models import Role
from tritone_runtime.fidelity import snr_db


def speech(codec: Codec, frames: float, seed: int = 0) -> NDArray[np.float32]:
    """Noise, which differs in the channels of a stereo codec."""
    shape = codec.info.audio_shape(round(frames * codec.info.encode_samples_per_frame))
    return (0.3 * np.random.default_rng(seed).standard_normal(shape)).astype(np.float32)


def test_encoding_and_decoding_equal_the_reference(codec: Codec, references: dict[str, Reference]) -> None:
    reference, audio = references[codec.name], speech(codec, 150.5)
    tokens = codec.encode(audio, codec.info.encode_sample_rate_hz)
    expected = reference.encode(torch.tensor(audio)[None])[0].numpy()
    assert tokens.dtype == np.int64
    assert np.array_equal(tokens, expected)
    assert len(np.unique(tokens)) > 30, "varied tokens, or this compares little"
    decoded = codec.decode(tokens)
    assert decoded.dtype == np.float32
    assert snr_db(reference.decode(torch.tensor(tokens)[None])[0].numpy(), decoded) > 115


def test_other_tokens_give_other_sound(codec: Codec) -> None:
    """Makes sure that the comparisons above would notice models that ignore their input."""
    first, second = (
        codec.encode(speech(codec, 40, seed), codec.info.encode_sample_rate_hz) for seed in (1, 2)
    )
    assert snr_db(codec.decode(first), codec.decode(second)) < 20


def test_lists_of_different_lengths_come_back_in_order(codec: Codec) -> None:
    pieces = [speech(codec, frames, frames) for frames in (9, 4, 30, 5, 4, 17)]
    tokens = codec.encode(pieces, codec.info.encode_sample_rate_hz)
    assert [each.shape[1] for each in tokens] == [9, 4, 30, 5, 4, 17]
    for piece, each in zip(pieces, tokens, strict=True):
        assert np.array_equal(each, codec.encode(piece, codec.info.encode_sample_rate_hz))
    least = limit_of(codec, tokens[2]).whole_db
    for each, audio in zip(tokens, codec.decode(tokens), strict=True):
        assert snr_db(codec.decode(each), audio) >= least
    assert codec.decode([]) == []


def test_long_inputs_go_in_pieces_that_join_to_the_whole(
    codec: Codec, monkeypatch: pytest.MonkeyPatch
) -> None:
    audio = speech(codec, 400.3)
    tokens = codec.encode(audio, codec.info.encode_sample_rate_hz)
    decoded = codec.decode(tokens)
    monkeypatch.setattr(Role, "longest_frames", lambda role, info: 37)
    assert np.array_equal(codec.encode(audio, codec.info.encode_sample_rate_hz), tokens)
    found = against_whole(codec, tokens, codec.decode(tokens), decoded)
    assert found.ok, found


def test_results_belong_to_the_caller(codec: Codec) -> None:
    tokens = codec.encode(speech(codec, 5), codec.info.encode_sample_rate_hz)
    tokens += 0
    audio = codec.decode(tokens)
    audio *= 0.5


def test_the_client_learns_everything_from_the_server(
    codec: Codec, codecs: dict[str, codecs_module.Codec]
) -> None:
    geometry = codecs[codec.name].geometry
    rates = ("sample_rate_hz", "samples_per_frame", "encode_sample_rate_hz", "encode_samples_per_frame")
    for fact in (*rates, "num_codebooks", "min_codebooks", "codebook_size", "min_samples"):
        assert getattr(codec.info, fact) == getattr(geometry, fact)


@pytest.mark.parametrize("books", [1, 8, 32])
def test_the_caller_chooses_the_number_of_codebooks(
    books: int, place: Place, references: dict[str, Reference]
) -> None:
    with Codec("small_mimi", place) as codec:
        audio = speech(codec, 40.5)
        tokens = codec.encode(audio, codec.info.encode_sample_rate_hz, books)
        expected = references[codec.name].encode(torch.tensor(audio)[None], books)[0].numpy()
        assert np.array_equal(tokens, expected)
        assert (
            snr_db(references[codec.name].decode(torch.tensor(tokens)[None])[0].numpy(), codec.decode(tokens))
            > 110
        )
        with pytest.raises(TokensError):
            codec.decode(np.zeros((33, 4), np.int64))


def test_the_server_lists_its_codecs(place: Place) -> None:
    assert served_codecs(place) == sorted(SMALL)
