"""Does every model that a server has loaded work? A second of quiet noise goes through each.

A loaded model may still fail at its first request, or forget what came before in a stream. So noise is
encoded and decoded, whole and as streams that start, continue and end; both must give the same.
"""

import time
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from tritone_client import Codec, CodecInfo, Stream, TritoneError
from tritone_client.remote import codecs_among
from tritone_runtime.fidelity import differing_share
from tritone_server.stream_check import Limit, compared

__all__ = ["SmokeError", "smoke"]

_TIMEOUT_S = 30.0
_LEAST_DB, _MOST_DIFFERING = 40, 0.1
"""A stream against the whole, of a server whose checkpoint need not be here, so nothing can be measured on
it. Right models are far better, in FP16 too, and wrong ones far worse."""

Say: TypeAlias = Callable[[str], None]
T = TypeVar("T")


class SmokeError(RuntimeError):
    """A model does not work; the message says which, what it cannot do, and why."""


def smoke(url: str, models: Sequence[str], say: Say, timeout_s: float = _TIMEOUT_S) -> None:
    """Ask every model for what it is there for.

    Args:
        url: of the server's gRPC.
        models: that it has loaded, of each codec ``_decode``, ``_encode`` and perhaps its streams.
        say: called with a line for each model that works.
        timeout_s: longest wait for one answer.

    Raises:
        SmokeError: at the first failure.
    """
    for name in codecs_among(models):
        try:
            codec = Codec(name, url, timeout_s)
        except TritoneError as error:
            raise SmokeError(f"{name} cannot be opened: {error}") from error
        with codec:
            _try(codec, models, say)


class _Trial:
    """One model: what it is asked is timed, and a failure is told with what was asked."""

    def __init__(self, model: str, say: Say):
        self._model, self._say = model, say
        self._asked, self._taken_s = 0, 0.0

    def ask(self, what: str, question: Callable[[], T]) -> T:
        begun = time.perf_counter()
        try:
            answer = question()
        except TritoneError as error:
            raise SmokeError(f"{self._model} cannot {what}: {error}") from error
        self._asked += 1
        self._taken_s += time.perf_counter() - begun
        return answer

    def expect(self, what: str, holds: bool, otherwise: str) -> None:
        if not holds:
            raise SmokeError(f"{self._model} cannot {what}: {otherwise}")

    def __enter__(self) -> "_Trial":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: BaseException | TracebackType | None) -> None:
        if kind is None:
            self._say(f"  {self._model:<32} ok  {1000 * self._taken_s:7.1f} ms, {self._asked} requests")


def _try(codec: Codec, models: Sequence[str], say: Say) -> None:
    noise, streams = _noise(codec.info), {model for model in models if model.endswith("_stream")}
    with _Trial(f"{codec.name}_encode", say) as trial:
        tokens = [_encoded(codec, noise, books, trial) for books in _choices(codec.info)]
    with _Trial(f"{codec.name}_decode", say) as trial:
        sounds = [_decoded(codec, each, trial) for each in tokens]
    if f"{codec.name}_decode_stream" in streams:
        with _Trial(f"{codec.name}_decode_stream", say) as trial:
            for each, sound in zip(tokens, sounds, strict=True):
                _stream_decoded(codec, each, sound, trial)
    if f"{codec.name}_encode_stream" in streams:
        with _Trial(f"{codec.name}_encode_stream", say) as trial:
            for each in tokens:
                _stream_encoded(codec, noise, each, trial)


def _noise(info: CodecInfo) -> NDArray[np.float32]:
    """A second of whole frames, or more where the codec takes no less; two frames at least."""
    hop = info.samples_per_frame
    frames = max(2, info.min_frames, -(-max(info.sample_rate_hz, info.min_samples) // hop))
    return (0.01 * np.random.default_rng(0).standard_normal(frames * hop)).astype(np.float32)


def _choices(info: CodecInfo) -> list[int]:
    """Numbers of codebooks: the usual one, the fewest, the most."""
    return list(dict.fromkeys([info.default_codebooks, info.min_codebooks, info.num_codebooks]))


def _encoded(codec: Codec, noise: NDArray[np.float32], books: int, trial: _Trial) -> NDArray[np.int64]:
    info, what = codec.info, f"encode noise into {books} codebooks"
    tokens = trial.ask(what, lambda: codec.encode(noise, info.sample_rate_hz, books))
    _expect_shape(trial, what, tokens, (books, len(noise) // info.samples_per_frame))
    inside = bool(((tokens >= 0) & (tokens < info.codebook_size)).all())
    trial.expect(what, inside, f"tokens must be in 0..{info.codebook_size - 1}")
    return tokens


def _decoded(codec: Codec, tokens: NDArray[np.int64], trial: _Trial) -> NDArray[np.float32]:
    books, frames = tokens.shape
    what = f"decode tokens of {books} codebooks"
    sound = trial.ask(what, lambda: codec.decode(tokens))
    _expect_shape(trial, what, sound, (frames * codec.info.samples_per_frame,))
    trial.expect(what, bool((np.abs(sound) <= 1).all()), "samples must be in -1..1")
    return sound


def _stream_decoded(
    codec: Codec, tokens: NDArray[np.int64], sound: NDArray[np.float32], trial: _Trial
) -> None:
    what = f"a stream of {len(tokens)} codebooks"
    joined = _streamed(codec.decode_stream, tokens, 1, what, trial)
    _expect_shape(trial, f"decode {what}", joined, sound.shape)
    found = compared(sound, joined, codec.info.samples_per_frame, Limit(_LEAST_DB))
    trial.expect(f"decode {what}", found.ok, str(found))


def _stream_encoded(
    codec: Codec, noise: NDArray[np.float32], tokens: NDArray[np.int64], trial: _Trial
) -> None:
    info, books = codec.info, len(tokens)
    what = f"a stream of {books} codebooks"
    joined = _streamed(
        lambda: codec.encode_stream(info.sample_rate_hz, books), noise, info.samples_per_frame, what, trial
    )
    _expect_shape(trial, f"encode {what}", joined, tokens.shape)
    differing = differing_share(tokens, joined)
    otherwise = f"{100 * differing:.0f} % of the tokens differ from what the whole gives"
    trial.expect(f"encode {what}", differing <= _MOST_DIFFERING, otherwise)


def _streamed(
    opened: Callable[[], Stream[Any]], data: NDArray[Any], steps: int, what: str, trial: _Trial
) -> NDArray[Any]:
    """What comes out when half of the frames start a stream, the others continue it, and it is ended."""
    half = data.shape[-1] // steps // 2 * steps
    with trial.ask(f"open {what}", opened) as stream:
        first = trial.ask(f"start {what}", lambda: stream.push(data[..., :half]))
        second = trial.ask(f"continue {what}", lambda: stream.push(data[..., half:]))
        rest = trial.ask(f"end {what}", stream.close)
    return np.concatenate([first, second, rest], axis=-1)


def _expect_shape(trial: _Trial, what: str, answer: NDArray[Any], shape: tuple[int, ...]) -> None:
    trial.expect(what, answer.shape == shape, f"expected {list(shape)}, got {list(answer.shape)}")
