"""Types of samples: rounding, clipping, and what is wrong said in words."""

from typing import Any

import numpy as np
import pytest

from tritone_client import AudioError, AudioFormatError, CodecInfo
from tritone_client.formats import samples
from tritone_client.formats.output import AudioFormat, AudioOutput
from tritone_client.inputs.checks import checked_samples
from tritone_runtime import pcm

INFO = CodecInfo("toy", 24000, 1920, 4, 4032, 1, 1920, 28, True, "0" * 64, 4, 4)
LOUD = np.array([0, 1, -1, 1.5, -2, 0.5, 1e-5, 2e-5], np.float32)
AS_INT16 = [0, 32767, -32767, 32767, -32767, 16384, 0, 1]


def test_int16_is_rounded_and_clipped_and_what_is_at_full_scale_is_counted() -> None:
    output = AudioOutput(INFO, AudioFormat("int16"), has_int16=False)
    assert output.converted(LOUD).tolist() == AS_INT16
    assert (output.wire, output.clipped) == ("audio", 4)
    output.converted(LOUD[:2])
    assert output.clipped == 5


def test_models_and_client_round_alike() -> None:
    noise = np.random.default_rng(0).standard_normal((2, 10_000)).astype(np.float32)
    assert np.array_equal(samples.int16_of(noise), pcm.int16_of(noise))
    assert samples.full_scale_samples(samples.int16_of(noise)) == pcm.full_scale_samples(pcm.int16_of(noise))
    assert pcm.outputs_of({"audio": LOUD}, ["audio", "audio_int16"])["audio_int16"].tolist() == AS_INT16


@pytest.mark.parametrize(
    ("wanted", "wire"),
    [
        (AudioFormat("int16"), "audio_int16"),
        (AudioFormat("mulaw"), "audio_int16"),
        (AudioFormat("int16", 24000), "audio_int16"),
        (AudioFormat("int16", 8000), "audio"),
        (AudioFormat("float32"), "audio"),
    ],
)
def test_int16_travels_unless_the_rate_is_converted(wanted: AudioFormat, wire: str) -> None:
    assert AudioOutput(INFO, wanted, has_int16=True).wire == wire
    assert AudioOutput(INFO, wanted, has_int16=False).wire == "audio"


def test_codes_come_of_int16_and_of_fp32_alike() -> None:
    of_fp32 = AudioOutput(INFO, AudioFormat("mulaw"), has_int16=False).converted(LOUD)
    of_int16 = AudioOutput(INFO, AudioFormat("mulaw"), has_int16=True).converted(samples.int16_of(LOUD))
    assert of_fp32.dtype == np.uint8
    assert np.array_equal(of_fp32, of_int16)


@pytest.mark.parametrize(
    ("dtype", "given", "floats"),
    [
        ("int16", np.array([0, 16384, -32768], np.int16), [0, 0.5, -1]),
        ("int16", [0, 16384, -32768], [0, 0.5, -1]),
        ("mulaw", np.array([0xFF, 0x80], np.uint8), [0, 32124 / 32768]),
        ("alaw", np.array([0xD5, 0x2A], np.uint8), [8 / 32768, -32256 / 32768]),
    ],
)
def test_integers_become_floating_point(dtype: str, given: Any, floats: list[float]) -> None:
    found = checked_samples(given, dtype=dtype)
    assert found.dtype == np.float32
    assert found.tolist() == floats


def test_one_channel_of_integers_is_copied_to_both() -> None:
    assert checked_samples(np.array([0, 16384], np.int16), 2, "int16").tolist() == [[0, 0.5]] * 2


@pytest.mark.parametrize(
    ("given", "dtype", "message"),
    [
        (np.zeros(3), "int16", r"'int16' is integers -32768\.\.32767, got float64; leave out dtype"),
        (np.array([70000]), "int16", r"-32768\.\.32767, got 70000\.\.70000"),
        (np.array([-1, 3], np.int16), "mulaw", r"'mulaw' is 0\.\.255, got -1\.\.3"),
        (b"\0\1", "mulaw", r"one channel \[S\], mulaw, as an array.*2 bytes; give them a type"),
        (np.zeros(3, np.int16), "float32", "pass dtype='int16'"),
    ],
)
def test_samples_of_another_type_are_refused(given: Any, dtype: str, message: str) -> None:
    with pytest.raises(AudioError, match=message):
        checked_samples(given, dtype=dtype)


@pytest.mark.parametrize(
    ("dtype", "rate_hz", "message"),
    [
        ("pcm8", None, "dtype is one of float32, int16, mulaw, alaw, by name; got 'pcm8'"),
        (np.int16, None, "by name; got <class"),
        ("int16", 7, r"4000\.\.192000 Hz \(8000, .*got 7 Hz"),
        ("int16", True, "got True Hz"),
    ],
)
def test_unknown_formats_are_refused_with_those_there_are(dtype: Any, rate_hz: Any, message: str) -> None:
    with pytest.raises(AudioFormatError, match=message):
        AudioFormat(dtype, rate_hz)


@pytest.mark.parametrize("rate_hz", [0, -8000, 8000.5, "fast", None])
def test_a_rate_is_a_number(rate_hz: Any) -> None:
    if rate_hz is None:
        assert AudioFormat("int16", rate_hz).sample_rate_hz is None
        return
    with pytest.raises(AudioError, match="positive number of Hz"):
        AudioFormat("int16", rate_hz)
