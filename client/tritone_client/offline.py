"""Decoding and encoding of whole inputs: the client cuts long ones into windows and joins the answers."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tritone_client.codec_models import DECODE, ENCODE, CodecModels, Role, codebook_option, inputs_of
from tritone_client.formats.output import AS_DECODED, AudioFormat, AudioOutput
from tritone_client.info import CodecInfo
from tritone_client.inputs.arrays import utterances
from tritone_client.inputs.audio import resampled
from tritone_client.inputs.checks import all_checked, checked_audio, checked_codebooks, checked_tokens
from tritone_client.sansio import SansIO
from tritone_client.streams.live import LiveStream
from tritone_client.streams.opening import decode_stream, encode_stream
from tritone_client.streams.windows import Window, windows
from tritone_client.transport.interface import Arrays

__all__ = ["decoded", "encoded"]

Results = list[NDArray[Any]]


def decoded(models: CodecModels, tokens: Any, wanted: AudioFormat = AS_DECODED) -> SansIO[Any]:
    """Audio [S] or [C, S] of tokens [K, T], as it is wanted; a list of audio for a list of utterances."""
    info = yield from models.info(DECODE)
    items, several = utterances(tokens, axes=2)
    checked = all_checked(items, lambda each: checked_tokens(each, info))
    if (yield from _better_as_streams(models, DECODE, checked)):
        results = yield from _as_streams(checked, partial(decode_stream, models, wanted=wanted))
    else:
        output = AudioOutput(info, wanted, info.int16_output)
        answers = yield from _in_windows(models, DECODE, checked, {}, output.wire)
        results = [output.whole(each) for each in answers]
    return results if several else results[0]


def encoded(
    models: CodecModels, audio: Any, sample_rate_hz: int, num_codebooks: int | None, dtype: str = "float32"
) -> SansIO[Any]:
    """Tokens INT64 [K, T] of audio [S] or [C, S]; a list of tokens for a list of utterances."""
    info = yield from models.info(ENCODE)
    books = checked_codebooks(num_codebooks, info)
    items, several = utterances(audio, axes=len(info.audio_shape(0)), whole_arrays=True)
    checked = all_checked(items, lambda each: checked_audio(each, sample_rate_hz, info, resampled, dtype))
    if (yield from _better_as_streams(models, ENCODE, checked)):
        rate_hz = info.encode_sample_rate_hz
        results = yield from _as_streams(checked, lambda: encode_stream(models, rate_hz, num_codebooks))
    else:
        encoded_books = yield from _in_windows(models, ENCODE, checked, codebook_option(num_codebooks, info))
        results = [tokens[:books] for tokens in encoded_books]
    return results if several else results[0]


def _better_as_streams(models: CodecModels, role: Role, checked: Results) -> SansIO[bool]:
    """Whether an utterance is so long that windows would send more context than new frames.

    Or so long that it needs windows at all, where a window does not know which frames of the signal it has.
    """
    info = yield from models.info(role)
    longest = role.longest_frames(info)
    if not info.position_frames and (not info.causal or info.lookaround_frames <= longest):
        return False
    if all(role.frames(each, info) <= longest for each in checked):
        return False
    return (yield from models.stream_info(role)) is not None


def _as_streams(checked: Results, open_stream: Callable[[], SansIO[LiveStream]]) -> SansIO[Results]:
    results = []
    for each in checked:
        results.append((yield from _through(open_stream(), each)))
    return results


def _through(opened: SansIO[LiveStream], data: NDArray[Any]) -> SansIO[NDArray[Any]]:
    stream = yield from opened
    try:
        first = yield from stream.push(data)
        return np.concatenate([first, (yield from stream.close())], axis=-1)
    finally:
        yield from stream.drop()


def _in_windows(
    models: CodecModels, role: Role, checked: Results, options: Arrays, output: str | None = None
) -> SansIO[Results]:
    info = yield from models.info(role)
    plans = [_windows(role, each, info) for each in checked]
    hop, model = role.steps_per_frame(role.input, info), f"{models.name}_{role.name}"
    calls = [
        (model, inputs_of(role, each[..., window.send_start * hop : window.send_stop * hop], options))
        for each, plan in zip(checked, plans, strict=True)
        for window in plan
    ]
    answers = iter((yield from models.results(calls, role, output)))
    return [_joined(answers, plan, role.steps_per_frame(role.output, info)) for plan in plans]


def _windows(role: Role, data: NDArray[Any], info: CodecInfo) -> list[Window]:
    frames, longest = role.frames(data, info), role.longest_frames(info)
    if info.whole_utterances_s:
        return [Window(0, frames, 0, frames)]
    return windows(frames, longest, info.lookaround_frames, info.causal)


def _joined(answers: Iterator[NDArray[Any]], plan: Sequence[Window], hop: int) -> NDArray[Any]:
    """The kept parts of the next ``len(plan)`` answers, joined; ``hop`` is the output's steps per frame."""
    kept = []
    for window, answer in zip(plan, islice(answers, len(plan)), strict=True):
        start, stop = window.kept
        kept.append(answer[0, ..., start * hop : stop * hop])
    return np.concatenate(kept, axis=-1)
