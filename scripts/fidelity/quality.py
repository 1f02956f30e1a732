"""Speech quality of a codec with trained weights, for sentences and voices seen in training or not."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scripts.common.prepare import ENGINES, MEASURED
from scripts.common.quality import WordErrors, mel_db, pesq_wb, stoi
from scripts.common.report import Row
from scripts.fidelity.case import Case
from scripts.fidelity.fp16_codec import Fp16Codec
from scripts.train.sentences import HELD_OUT_SEED, TRAINING_SEED, sentences
from scripts.train.speech_synthesis import RATE_HZ, SPEECH, UNSEEN_VOICE, VOICES, Synthesizer, Voice
from tritone_build.engines.buckets import most_frames
from tritone_client.inputs.audio import resampled

__all__ = ["quality_rows"]

Audio = NDArray[np.float32]

_MAX_ADDED_WORD_ERRORS = 0.10


@dataclass(frozen=True)
class _Group:
    """Sentences in some voices, with the least STOI and PESQ that they must have; 0 means no limit."""

    name: str
    seed: int
    voices: tuple[Voice, ...]
    stoi: float = 0
    pesq: float = 0

    def utterances(self, count: int) -> list[tuple[str, Audio]]:
        """``count`` sentences in each voice, as text and audio at ``RATE_HZ``."""
        texts = sentences(count, self.seed)
        return [(text, Synthesizer(voice, SPEECH)(text)) for voice in self.voices for text in texts]


_GROUPS = (
    _Group("seen_sentences", TRAINING_SEED, VOICES),
    _Group("unseen_sentences", HELD_OUT_SEED, VOICES, stoi=0.93, pesq=1.6),
    _Group("unseen_voice", HELD_OUT_SEED, (UNSEEN_VOICE,), stoi=0.80),
)


def quality_rows(case: Case) -> list[Row]:
    """STOI, PESQ, mel distance and word error rate; no rows for a codec with random weights.

    Raises:
        SynthesizerError: a speech synthesizer is missing.
    """
    if not MEASURED[case.name].comes_along:
        return []
    utterances = {group: group.utterances(case.durations.sentences) for group in _GROUPS}
    rows = [row for group in _GROUPS for row in _group_rows(case, group, utterances[group], _offline)]
    for decode, suffix in ((_streamed, "_streamed"), (_fp16, "_fp16")):
        rows += _group_rows(case, _GROUPS[1], utterances[_GROUPS[1]], decode, suffix)
    return rows


def _offline(case: Case, tokens: NDArray[np.int64]) -> Audio:
    return case.codec.decode(tokens)


def _streamed(case: Case, tokens: NDArray[np.int64]) -> Audio:
    with case.codec.decode_stream() as stream:
        return np.concatenate([stream.push(frame) for frame in tokens.T], axis=-1)


def _fp16(case: Case, tokens: NDArray[np.int64]) -> Audio:
    """Decode with the FP16 graph that TensorRT compiles."""
    info = case.codec.info
    most = most_frames(info.frame_rate_hz, info.lookaround_frames, info.causal)
    return Fp16Codec(case.name, ENGINES).decode(tokens, most)


def _group_rows(
    case: Case,
    group: _Group,
    utterances: list[tuple[str, Audio]],
    decode: Callable[[Case, NDArray[np.int64]], Audio],
    suffix: str = "",
) -> list[Row]:
    info, before, after = case.codec.info, WordErrors(), WordErrors()
    rate_hz = info.encode_sample_rate_hz
    pairs = []
    for text, speech in utterances:
        audio = resampled(speech, RATE_HZ, rate_hz)
        decoded = decode(case, case.codec.encode(audio, rate_hz))
        decoded = resampled(decoded, info.sample_rate_hz, rate_hz)[: len(audio)]
        pairs.append((audio, decoded))
        before.add(text, audio, rate_hz)
        after.add(text, decoded, rate_hz)
    how = f"{len(utterances)} sentences, voices: {', '.join(voice.name for voice in group.voices)}"
    most = before.rate + _MAX_ADDED_WORD_ERRORS

    def row(measure: str, value: float, unit: str, target: str, ok: bool, more: str = "") -> Row:
        return Row(case.name, f"{measure}_{group.name}{suffix}", value, unit, target, ok, how + more)

    mean_stoi = np.mean([stoi(*pair, rate_hz) for pair in pairs])
    scores = [score for pair in pairs if (score := pesq_wb(*pair, rate_hz)) is not None]
    rows = [row("stoi", float(mean_stoi), "of 1", _at_least(group.stoi), bool(mean_stoi >= group.stoi))]
    if scores:
        score = float(np.mean(scores))
        rows.append(row("pesq", score, "MOS", _at_least(group.pesq), score >= group.pesq))
    rows.append(row("mel", float(np.mean([mel_db(*pair, rate_hz) for pair in pairs])), "dB", "none", True))
    errors = f"; PocketSphinx, {before.rate:.3f} before the codec"
    limited = bool(group.stoi and group.pesq)
    target = f"<= {most:.3f}" if limited else "none"
    return [*rows, row("wer", after.rate, "share", target, not limited or after.rate <= most, errors)]


def _at_least(value: float) -> str:
    return f">= {value:g}" if value else "none"
