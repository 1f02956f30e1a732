"""The tensors of MOSS-Audio-Tokenizer-Nano's published ONNX files."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from helpers.place import Place
from numpy.typing import NDArray

from scripts.common.small_codecs import SMALL
from tritone_client import AudioError, Codec, StreamClosedError, TokensError
from tritone_client.adapters.moss import MossTokenizer
from tritone_client.adapters.moss_nano import DecodeStepSession, NanoTokenizer

NAME = "small_moss_nano"
SIZE, BOOKS = (SMALL[NAME]["quantizer_kwargs"][key] for key in ("codebook_size", "num_quantizers"))
HOP = SMALL[NAME]["downsample_rate"]
CODES = np.random.default_rng(0).integers(0, SIZE, (1, 12, BOOKS), dtype=np.int32)
STATE = {
    "transformer_offset_0": np.zeros(1, np.int32),
    "transformer_offset_1": np.zeros(1, np.int32),
    "attn_offset_0": np.zeros(1, np.int32),
    "attn_cached_keys_0": np.zeros((1, 4, 500, 64), np.float32),
    "attn_cached_values_0": np.zeros((1, 4, 500, 64), np.float32),
    "attn_cached_positions_0": np.full((1, 500), -1, np.int32),
}


@pytest.fixture
def tokenizer(place: Place) -> Iterator[NanoTokenizer]:
    with NanoTokenizer(NAME, place) as opened:
        yield opened


def step(
    session: DecodeStepSession, codes: NDArray[Any], state: dict[str, NDArray[Any]]
) -> tuple[NDArray[np.float32], dict[str, NDArray[Any]]]:
    """One step and the state after it, with the calls of ort_cpu_runtime.py."""
    feeds = {"audio_codes": codes, "audio_code_lengths": np.array([codes.shape[1]], np.int32)} | state
    outputs = session.run(None, feeds)
    names = [output.name for output in session.get_outputs()]
    found = dict(zip(names, outputs, strict=True))
    after = {name: found["_out_".join(name.rsplit("_", 1))] for name in state}
    assert found["audio_lengths"].tolist() == [found["audio"].shape[2]]
    return found["audio"], after


def test_codes_have_the_codebooks_last_and_rows_their_own_lengths(
    tokenizer: NanoTokenizer, place: Place
) -> None:
    sound = 0.1 * np.random.default_rng(0).standard_normal((2, 2, 10 * HOP + 3)).astype(np.float32)
    codes, lengths = tokenizer.encode(sound, np.array([10 * HOP + 3, 5 * HOP]))
    assert (codes.shape, codes.dtype.name, lengths.tolist()) == ((2, 11, BOOKS), "int32", [11, 5])
    audio, samples = tokenizer.decode_full(codes, lengths)
    assert (audio.shape, samples.tolist()) == ((2, 2, 11 * HOP), [11 * HOP, 5 * HOP])
    assert not audio[1, :, 5 * HOP :].any()
    with Codec(NAME, place) as codec:
        assert np.array_equal(codes[1, :5].T, codec.encode(sound[1, :, : 5 * HOP], codec.info.sample_rate_hz))
        assert np.array_equal(audio[1, :, : 5 * HOP], codec.decode(codes[1, :5].T))


def test_steps_join_to_the_whole_whatever_part_of_the_state_is_sent(tokenizer: NanoTokenizer) -> None:
    whole, _ = tokenizer.decode_full(CODES)
    session = tokenizer.decode_step_session()
    for state in (STATE, {"transformer_offset_0": np.zeros(1, np.int32)}):
        pieces = []
        for start, stop in ((0, 1), (1, 2), (2, 6), (6, 12)):
            audio, state = step(session, CODES[:, start:stop], state)  # noqa: PLW2901
            pieces.append(audio)
        assert np.allclose(np.concatenate(pieces, axis=2), whole, atol=1e-4)
    session.close()


def test_two_utterances_in_one_session_do_not_mix(tokenizer: NanoTokenizer) -> None:
    session, other = tokenizer.decode_step_session(max_streams=2), (CODES + 1) % SIZE
    states = [dict(STATE), dict(STATE)]
    heard: tuple[list[NDArray[Any]], ...] = ([], [])
    for frame in range(12):
        for number, codes in enumerate((CODES, other)):
            audio, states[number] = step(session, codes[:, frame : frame + 1], states[number])
            heard[number].append(audio)
    for pieces, codes in zip(heard, (CODES, other), strict=True):
        assert np.allclose(np.concatenate(pieces, axis=2), tokenizer.decode_full(codes)[0], atol=1e-4)
    session.close()


def test_a_state_is_continued_once_and_only_while_it_is_kept(tokenizer: NanoTokenizer) -> None:
    session = tokenizer.decode_step_session(max_streams=1)
    _, after = step(session, CODES[:, :1], STATE)
    _, latest = step(session, CODES[:, 1:2], after)
    with pytest.raises(StreamClosedError, match="was continued before, or its utterance has ended"):
        step(session, CODES[:, 1:2], after)
    step(session, CODES[:, :1], STATE)  # a second utterance, where one may be kept
    with pytest.raises(StreamClosedError, match="begin with zeros"):
        step(session, CODES[:, 2:3], latest)
    session.close()


def test_a_state_of_another_session_is_refused(tokenizer: NanoTokenizer) -> None:
    with tokenizer.decode_step_session() as mine, tokenizer.decode_step_session() as other:
        _, after = step(mine, CODES[:, :1], STATE)
        step(other, CODES[:, :1], STATE)
        with pytest.raises(StreamClosedError, match="begin with zeros"):
            step(other, CODES[:, 1:2], after)


def test_an_output_that_does_not_exist_leaves_the_utterance_as_it_was(tokenizer: NanoTokenizer) -> None:
    with tokenizer.decode_step_session() as session:
        _, after = step(session, CODES[:, :1], STATE)
        with pytest.raises(TokensError, match="there is no output sound; there are audio, audio_lengths"):
            session.run(["sound"], {"audio_codes": CODES[:, 1:2], **after})
        with pytest.raises(TokensError, match=r"transformer_offset_0 is one integer, got int32 \[0\]"):
            session.run(None, {"audio_codes": CODES, "transformer_offset_0": np.zeros(0, np.int32)})
        (audio,) = session.run(["audio"], {"audio_codes": CODES[:, 1:2], **after})
        assert audio.shape == (1, 2, HOP)


def test_bad_codes_leave_the_utterance_as_it_was(tokenizer: NanoTokenizer) -> None:
    whole, _ = tokenizer.decode_full(CODES)
    session = tokenizer.decode_step_session()
    first, after = step(session, CODES[:, :5], STATE)
    padding = CODES[:, 5:6].copy()
    padding[0, 0, 3] = SIZE  # what MOSS-TTS-Nano fills empty places with
    with pytest.raises(TokensError, match=rf"0\.\.{SIZE - 1}, got {SIZE} in codebook 3"):
        step(session, padding, after)
    second, _ = step(session, CODES[:, 5:], after)
    assert np.allclose(np.concatenate([first, second], axis=2), whole, atol=1e-4)
    session.close()


def test_what_does_not_fit_is_refused_in_words(tokenizer: NanoTokenizer) -> None:
    with pytest.raises(AudioError, match=r"waveform is \[B, 2, S\], got \[2, 100\]"):
        tokenizer.encode(np.zeros((2, 100), np.float32))
    with pytest.raises(AudioError, match=r"waveform is \[B, 2, S\], got \[1, 3, 100\]"):
        tokenizer.encode(np.zeros((1, 3, 100), np.float32))
    with pytest.raises(TokensError, match=r"audio_codes is \[B, T, codebooks\], integers, got \[12, 16\]"):
        tokenizer.decode_full(CODES[0])
    with pytest.raises(TokensError, match="a step takes one utterance, got 2 rows"):
        tokenizer.decode_step_session().run(None, {"audio_codes": np.tile(CODES, (2, 1, 1))})
    with pytest.raises(TokensError, match="got only codes"):
        tokenizer.decode_step_session().run(None, {"codes": CODES})


def test_the_tensors_of_the_larger_models_are_stereo_too(place: Place) -> None:
    with MossTokenizer(NAME, place) as larger:
        sound = np.zeros((1, 2, 3 * HOP), np.float32)
        codes, _ = larger.encode(sound)
        assert codes.shape == (BOOKS, 1, 3)
        assert larger.decode(codes)[0].shape == (1, 2, 3 * HOP)
        with pytest.raises(AudioError, match=r"input_values is \[B, 2, S\], got \[1, 3, 48\]"):
            larger.encode(np.zeros((1, 3, 48), np.float32))
