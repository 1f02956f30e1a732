"""Bad input is refused before anything is sent."""

import sys
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tritone_client import (
    AudioError,
    CodecInfo,
    MissingExtraError,
    ServerRefusedError,
    StreamInfo,
    TokensError,
    WholeUtterancesError,
)
from tritone_client.inputs.audio import resampled
from tritone_client.inputs.checks import (
    checked_audio,
    checked_codebooks,
    checked_tokens,
    refuse_live_streams,
)

INFO = CodecInfo(
    name="toy",
    sample_rate_hz=22050,
    samples_per_frame=1764,
    num_codebooks=4,
    codebook_size=4032,
    min_frames=1,
    min_samples=1764,
    lookaround_frames=28,
    causal=True,
    checkpoint_sha256="0" * 64,
    min_codebooks=4,
    default_codebooks=4,
)


CHOICE = replace(INFO, num_codebooks=32, min_codebooks=1, default_codebooks=8)


def parameters_of(info: CodecInfo) -> dict[str, str]:
    """As a server states them."""
    stated = {name: str(value).lower() for name, value in asdict(info).items() if value != ()}
    return {name.replace("sample_rate_hz", "sample_rate"): value for name, value in stated.items()}


def test_the_parameters_of_a_server_are_read() -> None:
    message = parameters_of(INFO)
    assert CodecInfo.from_parameters("toy", "toy_decode", message) == INFO
    limits = {"max_streams": "64", "state_bytes": "10880", "idle_limit_ms": "5000"}
    assert StreamInfo.from_parameters("toy_decode_stream", limits) == StreamInfo(64, 10880, 5000)
    assert StreamInfo.from_parameters("toy", limits | {"replay_frames": "28"}).replay_frames == 28
    with pytest.raises(ServerRefusedError, match="toy_decode_stream has no parameter 'max_streams'"):
        StreamInfo.from_parameters("toy_decode_stream", message)


WHOLE = replace(INFO, whole_utterances_s=2)
"""A codec whose encoder needs all of an utterance at once."""


def test_an_encoder_that_needs_whole_utterances_limits_their_length() -> None:
    message = parameters_of(WHOLE)
    assert CodecInfo.from_parameters("toy", "toy_encode", message) == WHOLE
    longest = np.zeros(44100, np.float32)
    assert checked_audio(longest, 22050, WHOLE, resampled).shape == (44100,)
    with pytest.raises(AudioError, match=r"whole utterances of at most 2 s.*got 2\.5 s; cut it at pauses"):
        checked_audio(np.zeros(55125, np.float32), 22050, WHOLE, resampled)


def test_an_encoder_that_needs_whole_utterances_has_no_live_streams() -> None:
    refuse_live_streams(INFO)
    with pytest.raises(WholeUtterancesError, match="toy has no live encoding, because its encoder needs all"):
        refuse_live_streams(WHOLE)


def test_some_codecs_leave_a_choice_of_codebooks() -> None:
    assert [checked_codebooks(number, CHOICE) for number in (None, 1, 32)] == [8, 1, 32]
    with pytest.raises(TokensError, match=r"encodes into 1\.\.32 codebooks, got 33"):
        checked_codebooks(33, CHOICE)
    assert checked_tokens(np.zeros((8, 2), int), CHOICE).shape == (8, 2)
    with pytest.raises(TokensError, match=r"takes tokens \[1\.\.32, T\], got \[33, 2\]"):
        checked_tokens(np.zeros((33, 2), int), CHOICE)


def test_derived_facts() -> None:
    assert (INFO.frame_rate_hz, round(INFO.bitrate_bps, 1)) == (12.5, 598.9)


@pytest.mark.parametrize(
    ("tokens", "message"),
    [
        (np.zeros(4, int), r"takes tokens \[4, T\], got \[4\]"),
        (np.zeros((5, 3), int), r"got \[5, 3\]"),
        (np.zeros((1, 4, 3), int), "pass several utterances as a list"),
        (np.zeros((4, 3)), "integers, got float64"),
        (np.zeros((4, 0), int), "at least 1 frame"),
        (np.full((4, 3), -1), "got -1 in codebook 0, frame 0"),
        (np.full((4, 3), 4032), r"0..4031, got 4032"),
        (np.array([[0, 0], [0, 0], [0, 2**40], [0, 0]]), "codebook 2, frame 1"),
    ],
)
def test_bad_tokens(tokens: NDArray[Any], message: str) -> None:
    with pytest.raises(TokensError, match=message):
        checked_tokens(tokens, INFO)


@pytest.mark.parametrize("dtype", [np.int8, np.uint16, np.int32, np.int64])
def test_tokens_of_any_integer_type_are_taken(dtype: type[np.integer[Any]]) -> None:
    checked = checked_tokens(np.full((4, 2), 7, dtype), INFO)
    assert checked.dtype == np.int64
    assert checked.tolist() == [[7, 7]] * 4


@pytest.mark.parametrize(
    ("audio", "message"),
    [
        (np.zeros((2, 5000)), "mix channels down"),
        (np.zeros(5000, np.int16), "pass dtype='int16', or divide it by 32768"),
        (np.zeros(0), "got 0; append silence"),
        (np.zeros(1763), r"at least 1764 samples \(80 ms\)"),
        (np.array([0.0, np.nan, np.inf] * 2000), "4000 NaN or infinite"),
    ],
)
def test_bad_audio(audio: NDArray[Any], message: str) -> None:
    with pytest.raises(AudioError, match=message):
        checked_audio(audio, 22050, INFO, resampled)


def test_a_sample_rate_is_positive() -> None:
    with pytest.raises(AudioError, match="0 Hz"):
        checked_audio(np.zeros(5000), 0, INFO, resampled)


def test_another_rate_is_converted_in_length_and_pitch() -> None:
    tone = np.sin(2 * np.pi * 440 * np.arange(48000) / 48000)
    converted = checked_audio(tone, 48000, INFO, resampled)
    spectrum = np.abs(np.fft.rfft(converted * np.hanning(len(converted))))
    assert (len(converted), int(spectrum.argmax())) == (22050, 440)


def test_audio_is_converted_to_the_rate_of_the_encoder() -> None:
    info = CodecInfo.from_parameters(
        "toy",
        "toy_decode",
        {
            **parameters_of(INFO),
            "encode_sample_rate": "16000",
            "encode_samples_per_frame": "1280",
        },
    )
    assert (info.sample_rate_hz, info.samples_per_frame, info.frame_rate_hz) == (22050, 1764, 12.5)
    assert (info.encode_sample_rate_hz, info.encode_samples_per_frame) == (16000, 1280)
    assert len(checked_audio(np.zeros(44100), 22050, info, resampled)) == 32000
    with pytest.raises(AudioError, match=r"1764 samples \(110 ms\) at 16000 Hz, got 1280"):
        checked_audio(np.zeros(1764), 22050, info, resampled)
    assert (INFO.encode_sample_rate_hz, INFO.encode_samples_per_frame) == (22050, 1764)


def test_another_rate_without_the_extra_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "soxr", None)
    with pytest.raises(MissingExtraError, match=r"tritone-client\[audio\]"):
        checked_audio(np.zeros(48000), 48000, INFO, resampled)


STEREO = replace(INFO, num_channels=2)
MONO_TONE = np.sin(np.arange(48000) / 10)


@pytest.mark.parametrize("audio", [MONO_TONE, MONO_TONE[None], MONO_TONE.tolist()])
def test_audio_of_one_channel_is_copied_to_both_channels_of_a_stereo_codec(audio: Any) -> None:
    checked = checked_audio(audio, 22050, STEREO, resampled)
    assert checked.shape == (2, 48000)
    assert (checked == MONO_TONE.astype(np.float32)).all()


def test_channels_keep_their_order_at_another_rate() -> None:
    converted = checked_audio(np.stack([MONO_TONE, 0 * MONO_TONE]), 48000, STEREO, resampled)
    assert converted.shape == (2, 22050)
    assert not converted[1].any()
    assert (converted[0] == checked_audio(MONO_TONE, 48000, INFO, resampled)).all()


@pytest.mark.parametrize(
    ("audio", "message"),
    [
        (np.zeros((5000, 2)), r"got \[5000, 2\]; if it is \[S, C\], pass its transpose"),
        (np.zeros((6, 5000)), r"got \[6, 5000\]; mix it to 2 channels first"),
        (np.zeros((1, 2, 5000)), "2 channels"),
        (np.zeros((2, 1763)), r"at least 1764 samples \(80 ms\)"),
    ],
)
def test_bad_audio_for_a_stereo_codec(audio: NDArray[Any], message: str) -> None:
    with pytest.raises(AudioError, match=message):
        checked_audio(audio, 22050, STEREO, resampled)
