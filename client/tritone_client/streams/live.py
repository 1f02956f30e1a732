"""A live stream: input is checked, cut into chunks and sent; new frames of the answers are returned."""

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from tritone_client.errors import StreamClosedError, TokensError, TritoneError
from tritone_client.formats.output import StreamOutput
from tritone_client.formats.samples import checked_dtype
from tritone_client.info import CodecInfo
from tritone_client.inputs import checks
from tritone_client.inputs.audio import resampler_delay_s, resampling
from tritone_client.sansio import SansIO
from tritone_client.streams.chunking import Chunker, Piece
from tritone_client.streams.stream_sessions import StreamSession

__all__ = ["AudioInput", "LiveStream", "StreamInput", "TokenInput"]


class StreamInput(Protocol):
    """Checks and converts the data of one stream before anything is sent."""

    def checked(self, data: Any) -> NDArray[Any]:
        """The data as the codec takes it; an error leaves the stream as it was."""

    def flush(self) -> NDArray[Any] | None:
        """The last data, at the end of the stream, if the conversion has held some back."""

    def refuse_few(self, total: int) -> None:
        """Raise if a stream of ``total`` time steps is too short for the codec."""


class TokenInput:
    """Tokens [K, T], or [K] for one frame; K stays the same within a stream."""

    def __init__(self, info: CodecInfo):
        self._info = info
        self._books: int | None = None

    def checked(self, data: Any) -> NDArray[Any]:
        """INT64 [K, T]."""
        tokens = checks.tokens_array(data, self._info)
        tokens = checks.checked_tokens(tokens[:, None] if tokens.ndim == 1 else tokens, self._info, 1)
        books = len(tokens)
        if self._books not in (None, books):
            raise TokensError(f"this stream began with {self._books} codebooks, got {books}")
        self._books = books
        return tokens

    def prefix(self, data: Any) -> NDArray[Any]:
        """INT64 [K, T] of the tokens before the stream."""
        try:
            return self.checked(data)
        except TokensError as error:
            raise TokensError(f"the prefix: {error}") from error

    def flush(self) -> None:
        """Nothing is held back."""
        return

    def refuse_few(self, total: int) -> None:
        """TokensError if the codec needs more frames."""
        checks.refuse_few_frames(total, self._info)


class AudioInput:
    """Audio [S] or [C, S] of any length at ``sample_rate_hz``, which is converted to the encoder's rate.

    ``dtype`` is the type of its samples; ``delay_s`` is what the conversion of the rate adds to the delay.
    """

    def __init__(self, info: CodecInfo, sample_rate_hz: int, dtype: str = "float32"):
        self._info, self._dtype = info, checked_dtype(dtype)
        rate_hz = checks.checked_rate(sample_rate_hz)
        same = rate_hz == info.encode_sample_rate_hz
        self._resample = None if same else resampling(rate_hz, info.encode_sample_rate_hz, info.num_channels)
        self.delay_s = 0.0 if same else resampler_delay_s(rate_hz, info.encode_sample_rate_hz)

    def checked(self, data: Any) -> NDArray[Any]:
        """FP32 [S] or [C, S] at the encoder's rate."""
        samples = checks.checked_samples(data, self._info.num_channels, self._dtype)
        return samples if self._resample is None else self._resample(samples, False)

    def flush(self) -> NDArray[Any] | None:
        """The last samples of the rate conversion."""
        nothing = np.zeros(self._info.audio_shape(0), np.float32)
        return None if self._resample is None else self._resample(nothing, True)

    def refuse_few(self, total: int) -> None:
        """AudioError if the codec needs more samples."""
        checks.refuse_few_samples(total, self._info)


def _first_rows(answer: NDArray[Any], like: NDArray[Any]) -> NDArray[Any]:
    """The first codebooks of tokens [K, T], as many as ``like`` has; audio has as many rows as it."""
    return answer[: len(like)] if like.ndim > 1 else answer


class LiveStream:
    """One stream.

    Args:
        stream_input: checks the data.
        chunker: cuts it into requests.
        session: sends them to the model.
        output: converts the answers.
        delay_ms: the longest time by which the output is behind the frames to which it belongs.
        before: what the model is sent first; its output is discarded.
    """

    def __init__(
        self,
        stream_input: StreamInput,
        chunker: Chunker,
        session: StreamSession,
        output: StreamOutput,
        delay_ms: float = 0.0,
        before: Sequence[Piece] = (),
    ):
        self._input, self._chunker, self._session = stream_input, chunker, session
        self._output, self._before, self.delay_ms = output, before, delay_ms
        self._end: TritoneError | None = None

    @property
    def clipped(self) -> int:
        """Samples of the output that are at full scale so far."""
        return self._output.clipped

    def begin(self) -> SansIO[None]:
        """Send what comes before the stream. If that fails, the stream has ended."""
        before, self._before = self._before, ()
        if not before:
            return
        try:
            yield from self._answers(before)
        except BaseException:
            yield from self._session.drop()
            raise

    def push(self, data: Any) -> SansIO[NDArray[Any]]:
        """The output that is ready after ``data``; may be empty."""
        if self._end is not None:
            raise self._end.with_traceback(None)
        answers = yield from self._answers(self._chunker.push(self._input.checked(data)))
        return self._output.converted(answers)

    def close(self) -> SansIO[NDArray[Any]]:
        """End the stream; the rest of its output. Empty if the stream has ended already, or failed."""
        if self._end is not None:
            yield from self._session.drop()
            return self._output.nothing()
        try:
            return (yield from self._last())
        finally:
            yield from self.drop()

    def drop(self) -> SansIO[None]:
        """End the stream and discard the rest of its output; never raises."""
        self._end = self._end or StreamClosedError("the stream is closed; open another one")
        yield from self._session.drop()

    def _last(self) -> SansIO[NDArray[Any]]:
        rest = self._input.flush()
        pieces = [] if rest is None else self._chunker.push(rest)
        if self._chunker.total:
            self._input.refuse_few(self._chunker.total)
            pieces += self._chunker.flush()
        answers = yield from self._answers(pieces)
        yield from self._session.finish()
        return self._output.converted(answers, last=True)

    def _answers(self, pieces: Sequence[Piece]) -> SansIO[NDArray[Any]]:
        kept = [self._output.empty]
        try:
            for piece in pieces:
                answer = _first_rows((yield from self._session.send(piece.data)), self._output.empty)
                kept.append(answer[..., piece.start : piece.stop])
        except BaseException as error:
            interrupted = StreamClosedError(
                "the stream was left in the middle of a request; open another one"
            )
            self._end = error if isinstance(error, TritoneError) else interrupted
            raise
        return np.concatenate(kept, axis=-1)
