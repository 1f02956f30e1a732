"""Send test requests with one second of quiet noise to every model that a server has loaded.

A loaded model may still fail at its first request, or lose the state of a stream. So the noise is encoded and
decoded twice, as a whole and as streams that start, continue and end, and both results must agree.
"""

import time
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from tritone_client import Codec, CodecInfo, Stream, TritoneError
from tritone_client.codec_models import codecs_of
from tritone_runtime.fidelity import differing_share
from tritone_server.stream_check import Limit, compared

__all__ = ["SmokeError", "smoke"]

_TIMEOUT_S = 30.0
_LOUDEST = 2.0
"""Bound of a sound's samples: some codecs exceed 1 a little, a broken model exceeds it by far, or has NaN."""
_LEAST_DB, _MOST_DIFFERING = 40, 0.1
"""Limits of a stream against the whole. They are not measured for each codec, since that needs its
checkpoint, which may not be on this machine. Correct models are far better, also in FP16, and wrong ones are
far worse."""

Log: TypeAlias = Callable[[str], None]
T = TypeVar("T")


class SmokeError(RuntimeError):
    """A model does not work; the message names the model, the failed request and the reason."""


def smoke(url: str, models: Sequence[str], log: Log, timeout_s: float = _TIMEOUT_S) -> None:
    """Send test requests to every model.

    Args:
        url: the server's gRPC address.
        models: the loaded models: ``_decode`` and ``_encode`` of each codec, and its stream models if any.
        log: called with a line of text for each model that works.
        timeout_s: longest wait for one response.

    Raises:
        SmokeError: at the first failure.
    """
    for name in codecs_of(models):
        try:
            codec = Codec(name, url, timeout_s)
        except TritoneError as error:
            raise SmokeError(f"{name} cannot be opened: {error}") from error
        with codec:
            _try(codec, models, log)


class _Trial:
    """Test requests to one model: they are timed, and a failure names the request."""

    def __init__(self, model: str, log: Log):
        self._model, self._log = model, log
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
            self._log(f"  {self._model:<32} ok  {1000 * self._taken_s:7.1f} ms, {self._asked} requests")


def _try(codec: Codec, models: Sequence[str], log: Log) -> None:
    noise, streams = _noise(codec.info), {model for model in models if model.endswith("_stream")}
    with _Trial(f"{codec.name}_encode", log) as trial:
        tokens = [_encoded(codec, noise, books, trial) for books in _choices(codec.info)]
    with _Trial(f"{codec.name}_decode", log) as trial:
        sounds = [_decoded(codec, each, trial) for each in tokens]
    if f"{codec.name}_decode_stream" in streams:
        with _Trial(f"{codec.name}_decode_stream", log) as trial:
            for each, sound in zip(tokens, sounds, strict=True):
                _stream_decoded(codec, each, sound, trial)
    if f"{codec.name}_encode_stream" in streams:
        with _Trial(f"{codec.name}_encode_stream", log) as trial:
            for each in tokens:
                _stream_encoded(codec, noise, each, trial)


def _noise(info: CodecInfo) -> NDArray[np.float32]:
    """Noise [S] or [C, S]: whole frames of at least one second, two frames and the codec's minimum."""
    hop = info.encode_samples_per_frame
    frames = max(2, info.min_frames, -(-max(info.encode_sample_rate_hz, info.min_samples) // hop))
    return (0.01 * np.random.default_rng(0).standard_normal(info.audio_shape(frames * hop))).astype(
        np.float32
    )


def _choices(info: CodecInfo) -> list[int]:
    """Numbers of codebooks to try: the default, the fewest and the most."""
    return list(dict.fromkeys([info.default_codebooks, info.min_codebooks, info.num_codebooks]))


def _encoded(codec: Codec, noise: NDArray[np.float32], books: int, trial: _Trial) -> NDArray[np.int64]:
    info, what = codec.info, f"encode noise into {books} codebooks"
    tokens = trial.ask(what, lambda: codec.encode(noise, info.encode_sample_rate_hz, books))
    _expect_shape(trial, what, tokens, (books, noise.shape[-1] // info.encode_samples_per_frame))
    inside = bool(((tokens >= 0) & (tokens < info.codebook_size)).all())
    trial.expect(what, inside, f"tokens must be in 0..{info.codebook_size - 1}")
    return tokens


def _decoded(codec: Codec, tokens: NDArray[np.int64], trial: _Trial) -> NDArray[np.float32]:
    books, frames = tokens.shape
    what = f"decode tokens of {books} codebooks"
    sound = trial.ask(what, lambda: codec.decode(tokens))
    samples = frames * codec.info.samples_per_frame - codec.info.short_samples
    _expect_shape(trial, what, sound, codec.info.audio_shape(samples))
    trial.expect(
        what, bool((np.abs(sound) <= _LOUDEST).all()), f"samples must be in -{_LOUDEST:g}..{_LOUDEST:g}"
    )
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
        lambda: codec.encode_stream(info.encode_sample_rate_hz, books),
        noise,
        info.encode_samples_per_frame,
        what,
        trial,
    )
    _expect_shape(trial, f"encode {what}", joined, tokens.shape)
    differing = differing_share(tokens, joined)
    otherwise = f"{100 * differing:.0f} % of the tokens differ from what the whole gives"
    trial.expect(f"encode {what}", differing <= _MOST_DIFFERING, otherwise)


def _streamed(
    opened: Callable[[], Stream[Any]], data: NDArray[Any], steps: int, what: str, trial: _Trial
) -> NDArray[Any]:
    """The output of a stream that gets half of the frames, then the other half, and is then closed."""
    half = data.shape[-1] // steps // 2 * steps
    with trial.ask(f"open {what}", opened) as stream:
        first = trial.ask(f"start {what}", lambda: stream.push(data[..., :half]))
        second = trial.ask(f"continue {what}", lambda: stream.push(data[..., half:]))
        rest = trial.ask(f"end {what}", stream.close)
    return np.concatenate([first, second, rest], axis=-1)


def _expect_shape(trial: _Trial, what: str, answer: NDArray[Any], shape: tuple[int, ...]) -> None:
    trial.expect(what, answer.shape == shape, f"expected {list(shape)}, got {list(answer.shape)}")
