"""Measures of speech quality rate good audio above bad."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from helpers.paths import ROOT
from numpy.typing import NDArray

from scripts.common import quality
from scripts.common.quality import WordErrors, mel_db, pesq_wb, stoi, word_errors
from scripts.fidelity import quality as fidelity_quality
from scripts.fidelity.case import QUICK, Case
from scripts.train.speech_synthesis import RATE_HZ, VOICES, Synthesizer, SynthesizerError
from tritone_build.codecs import variant
from tritone_client.inputs.audio import read_audio


@pytest.fixture(scope="module")
def speech() -> tuple[NDArray[np.float32], int]:
    audio, rate_hz = read_audio(ROOT / "samples" / "speech.wav")
    return audio[: 3 * rate_hz], rate_hz


def noisy(audio: NDArray[np.float32], level: float) -> NDArray[np.float32]:
    noise = np.random.default_rng(0).standard_normal(len(audio))
    return (audio + level * noise).astype(np.float32)


def test_measures_fall_with_noise(speech: tuple[NDArray[np.float32], int]) -> None:
    audio, rate_hz = speech
    degraded = [audio, noisy(audio, 0.01), noisy(audio, 0.1)]
    intelligible = [stoi(audio, each, rate_hz) for each in degraded]
    distances = [mel_db(audio, each, rate_hz) for each in degraded]
    assert intelligible[0] == pytest.approx(1)
    assert intelligible == sorted(intelligible, reverse=True)
    assert distances[0] == 0
    assert distances == sorted(distances)
    opinions = [pesq_wb(audio, each, rate_hz) for each in degraded]
    if None not in opinions:
        assert opinions == sorted(cast(list[float], opinions), reverse=True)
        assert cast(float, opinions[0]) > 4.6


@pytest.mark.parametrize(
    ("reference", "hypothesis", "errors"),
    [
        ("a b c", "a b c", 0),
        ("a b c", "a c", 1),
        ("a b c", "a x b c", 1),
        ("a b c", "c b a", 2),
        ("a b", "", 2),
    ],
    ids=["equal", "lost", "added", "replaced", "nothing recognized"],
)
def test_word_errors_are_the_fewest_edits(reference: str, hypothesis: str, errors: int) -> None:
    assert word_errors(reference.split(), hypothesis.split()) == errors


@pytest.mark.needs("flite")
def test_the_recognizer_understands_speech_but_not_speech_drowned_in_noise(tmp_path: Path) -> None:
    text = "It was quiet and grey at school next week."
    audio = Synthesizer(VOICES[0], tmp_path)(text)
    clear, drowned = WordErrors(), WordErrors()
    clear.add(text, audio, RATE_HZ)
    drowned.add(text, noisy(audio, 1.0), RATE_HZ)
    assert clear.words == 9
    assert clear.rate < 0.4 < drowned.rate


class GainCodec:
    """A codec that returns its input times a gain."""

    info = SimpleNamespace(sample_rate_hz=22050, encode_sample_rate_hz=22050)

    def __init__(self, gain: float):
        self.gain = np.float32(gain)

    def encode(self, audio: NDArray[Any], rate_hz: int) -> NDArray[Any]:
        assert rate_hz == self.info.sample_rate_hz
        return audio[None]

    def decode(self, tokens: NDArray[Any]) -> NDArray[Any]:
        decoded: NDArray[Any] = self.gain * tokens[0]
        return decoded


@pytest.mark.parametrize("gain", [1, 0.001])
def test_rows_miss_their_targets_when_speech_is_lost(
    gain: float, speech: tuple[NDArray[np.float32], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Synthesizer, "__call__", lambda self, text: speech[0])
    monkeypatch.setattr(fidelity_quality, "stoi", lambda *_: gain)
    for name in ("_streamed", "_fp16"):
        monkeypatch.setattr(fidelity_quality, name, fidelity_quality._offline)
    text = "A sentence."
    monkeypatch.setattr(fidelity_quality, "sentences", lambda count, seed: [text] * count)
    monkeypatch.setattr(quality, "_recognized", lambda audio, _: text if np.abs(audio).max() > 0.1 else "")
    case = cast(Case, SimpleNamespace(name="nanocodec_mini", codec=GainCodec(gain), durations=QUICK))
    rows = {row.check: row for row in fidelity_quality.quality_rows(case)}
    assert {name for name in rows if name.startswith("stoi")} == {
        "stoi_seen_sentences",
        "stoi_unseen_sentences",
        "stoi_unseen_voice",
        "stoi_unseen_sentences_streamed",
        "stoi_unseen_sentences_fp16",
    }
    for name in (name for name in rows if name.startswith("stoi_unseen")):
        assert rows[name].ok == (gain == 1), name
    assert rows["wer_unseen_sentences"].ok == (gain == 1)


def test_random_weights_are_not_judged_by_their_sound() -> None:
    assert not variant("nanocodec").comes_along
    assert fidelity_quality.quality_rows(cast(Case, SimpleNamespace(name="nanocodec"))) == []


def test_a_missing_synthesizer_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(fidelity_quality, "SPEECH", tmp_path)
    case = cast(Case, SimpleNamespace(name="nanocodec_mini", durations=QUICK))
    with pytest.raises(SynthesizerError, match="install the package flite"):
        fidelity_quality.quality_rows(case)
