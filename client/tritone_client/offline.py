"""Whole inputs, as steps: cut where they are long, sent, and joined to exactly the whole."""

from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tritone_client.codec_models import DECODE, ENCODE, CodecModels, Role, choice, whole
from tritone_client.errors import AudioError, TokensError
from tritone_client.info import CodecInfo
from tritone_client.inputs.arrays import utterances
from tritone_client.inputs.audio import resampled
from tritone_client.inputs.checks import checked_audio, checked_codebooks, checked_tokens
from tritone_client.sansio import SansIO
from tritone_client.streams.live import LiveStream
from tritone_client.streams.windows import Window, windows
from tritone_client.transport.interface import Arrays

__all__ = ["decoded", "encoded"]

Results = list[NDArray[Any]]


def decoded(served: CodecModels, tokens: Any) -> SansIO[Any]:
    """Audio [S] of tokens [K, T], or a list of audio for a list of tokens."""
    info = yield from served.info(DECODE)
    items, several = utterances(tokens, axes=2)
    checked = _each_checked(items, lambda each: checked_tokens(each, info))
    if (yield from _better_as_streams(served, DECODE, checked)):
        found = yield from _as_streams(checked, served.decode_stream)
    else:
        found = yield from _in_windows(served, DECODE, checked, {})
    return found if several else found[0]


def encoded(served: CodecModels, audio: Any, sample_rate_hz: int, num_codebooks: int | None) -> SansIO[Any]:
    """Tokens [K, T] of audio [S], or a list of tokens for a list of audio."""
    info = yield from served.info(ENCODE)
    books = checked_codebooks(num_codebooks, info)
    items, several = utterances(audio, axes=1)
    checked = _each_checked(items, lambda each: checked_audio(each, sample_rate_hz, info, resampled))
    if (yield from _better_as_streams(served, ENCODE, checked)):
        rate_hz = info.sample_rate_hz
        found = yield from _as_streams(checked, lambda: served.encode_stream(rate_hz, num_codebooks))
    else:
        whole_books = yield from _in_windows(served, ENCODE, checked, choice(num_codebooks, info))
        found = [tokens[:books] for tokens in whole_books]
    return found if several else found[0]


def _each_checked(items: Sequence[Any], check: Callable[[Any], NDArray[Any]]) -> Results:
    """All of them; the error of a bad one among several says which it is."""
    checked = []
    for index, each in enumerate(items):
        try:
            checked.append(check(each))
        except (TokensError, AudioError) as error:
            if len(items) == 1:
                raise
            told = type(error)(f"utterance {index} of {len(items)}, counted from 0: {error}")
            told.utterance = index
            raise told from error
    return checked


def _better_as_streams(served: CodecModels, role: Role, checked: Results) -> SansIO[bool]:
    """Whether some are so long that windows would send more context than new frames."""
    info = yield from served.info(role)
    longest = role.longest_frames(info)
    if not info.causal or info.lookaround_frames <= longest:
        return False
    if all(role.frames(each, info) <= longest for each in checked):
        return False
    return (yield from served.stream_info(role)) is not None


def _as_streams(checked: Results, opening: Callable[[], SansIO[LiveStream]]) -> SansIO[Results]:
    results = []
    for each in checked:
        results.append((yield from _through(opening(), each)))
    return results


def _through(opening: SansIO[LiveStream], data: NDArray[Any]) -> SansIO[NDArray[Any]]:
    stream = yield from opening
    try:
        first = yield from stream.push(data)
        return np.concatenate([first, (yield from stream.close())], axis=-1)
    finally:
        yield from stream.drop()


def _in_windows(served: CodecModels, role: Role, checked: Results, more: Arrays) -> SansIO[Results]:
    info = yield from served.info(role)
    plans = [_windows(role, each, info) for each in checked]
    steps, model = role.steps(role.input, info), f"{served.name}_{role.name}"
    calls = [
        (model, whole(role, each[..., window.send_start * steps : window.send_stop * steps], more))
        for each, plan in zip(checked, plans, strict=True)
        for window in plan
    ]
    found = yield from served.results(calls, role)
    pieces = iter(found)
    return [_joined(pieces, plan, role.steps(role.output, info)) for plan in plans]


def _windows(role: Role, data: NDArray[Any], info: CodecInfo) -> list[Window]:
    frames, longest = role.frames(data, info), role.longest_frames(info)
    return windows(frames, longest, info.lookaround_frames, info.causal)


def _joined(pieces: Iterator[NDArray[Any]], plan: Sequence[Window], steps: int) -> NDArray[Any]:
    """Kept parts of the next ``len(plan)`` answers, joined; ``steps`` is output steps per frame."""
    kept = []
    for window, piece in zip(plan, islice(pieces, len(plan)), strict=True):
        start, stop = window.kept
        kept.append(piece[0, ..., start * steps : stop * steps])
    return np.concatenate(kept, axis=-1)
