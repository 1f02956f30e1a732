"""A live stream as steps: what is checked, sent and kept, whoever waits for the answers."""

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from tritone_client.errors import StreamClosedError, TokensError, TritoneError
from tritone_client.info import CodecInfo
from tritone_client.inputs import checks
from tritone_client.inputs.audio import resampling
from tritone_client.sansio import SansIO
from tritone_client.streams.chunking import Chunker, Piece
from tritone_client.streams.stream_sessions import StreamSession

__all__ = ["AudioInput", "LiveStream", "StreamInput", "TokenInput"]


class StreamInput(Protocol):
    """What is taken, checked before anything is sent."""

    def taken(self, data: Any) -> NDArray[Any]:
        """As the codec takes it; raises what is wrong, and the stream stays as it was."""

    def rest(self) -> NDArray[Any] | None:
        """What the stream_input itself still holds at the end."""

    def refuse_few(self, total: int) -> None:
        """Raise where a stream of so many time steps is too short for the codec."""


class TokenInput:
    """Tokens [K, T], or [K] for one frame, with the same K throughout."""

    def __init__(self, info: CodecInfo):
        self._info = info
        self._books: int | None = None

    def taken(self, data: Any) -> NDArray[Any]:
        """INT64 [K, T]."""
        tokens = checks.tokens_array(data, self._info)
        tokens = checks.checked_tokens(tokens[:, None] if tokens.ndim == 1 else tokens, self._info, 1)
        books = len(tokens)
        if self._books not in (None, books):
            raise TokensError(f"this stream began with {self._books} codebooks, got {books}")
        self._books = books
        return tokens

    def rest(self) -> None:
        """Nothing is held."""
        return

    def refuse_few(self, total: int) -> None:
        """TokensError below the codec's fewest frames."""
        checks.refuse_few_frames(total, self._info)


class AudioInput:
    """Audio [S] of any length at ``sample_rate_hz``, converted to the codec's where that differs."""

    def __init__(self, info: CodecInfo, sample_rate_hz: int):
        self._info = info
        rate_hz = checks.checked_rate(sample_rate_hz)
        same = rate_hz == info.sample_rate_hz
        self._resample = None if same else resampling(rate_hz, info.sample_rate_hz)

    def taken(self, data: Any) -> NDArray[Any]:
        """FP32 [S] at the codec's rate."""
        samples = checks.checked_samples(data)
        return samples if self._resample is None else self._resample(samples, False)

    def rest(self) -> NDArray[Any] | None:
        """What the conversion of the rate still holds."""
        return None if self._resample is None else self._resample(np.zeros(0, np.float32), True)

    def refuse_few(self, total: int) -> None:
        """AudioError below the codec's fewest samples."""
        checks.refuse_few_samples(total, self._info)


def _first_rows(answer: NDArray[Any], like: NDArray[Any]) -> NDArray[Any]:
    """Of tokens [K, T] as many codebooks as ``like`` has; audio as it is."""
    return answer[: len(like)] if like.ndim > 1 else answer


class LiveStream:
    """One stream.

    Args:
        stream_input: checks what comes.
        chunker: decides what can be sent.
        session: takes it to the server.
        steps: time steps of the output in one frame.
        nothing: an output of no frames.
    """

    def __init__(
        self,
        stream_input: StreamInput,
        chunker: Chunker,
        session: StreamSession,
        steps: int,
        nothing: NDArray[Any],
    ):
        self._input, self._chunker, self._stream_session = stream_input, chunker, session
        self._steps, self._nothing = steps, nothing
        self._over: TritoneError | None = None

    def push(self, data: Any) -> SansIO[NDArray[Any]]:
        """What comes out for ``data``; may be empty."""
        if self._over is not None:
            raise self._over.with_traceback(None)
        return (yield from self._answers(self._chunker.push(self._input.taken(data))))

    def close(self) -> SansIO[NDArray[Any]]:
        """What is left; afterwards, or after an error, nothing."""
        if self._over is not None:
            yield from self._stream_session.drop()
            return self._nothing.copy()
        try:
            return (yield from self._last())
        finally:
            yield from self.drop()

    def drop(self) -> SansIO[None]:
        """End without asking for what is left; never raises."""
        self._over = self._over or StreamClosedError("the stream is closed; open another one")
        yield from self._stream_session.drop()

    def _last(self) -> SansIO[NDArray[Any]]:
        rest = self._input.rest()
        pieces = [] if rest is None else self._chunker.push(rest)
        if self._chunker.total:
            self._input.refuse_few(self._chunker.total)
            pieces += self._chunker.flush()
        answers = yield from self._answers(pieces)
        yield from self._stream_session.finish()
        return answers

    def _answers(self, pieces: list[Piece]) -> SansIO[NDArray[Any]]:
        kept = [self._nothing]
        try:
            for piece in pieces:
                answer = _first_rows((yield from self._stream_session.send(piece.data)), self._nothing)
                kept.append(answer[..., piece.start * self._steps : piece.stop * self._steps])
        except BaseException as error:
            interrupted = StreamClosedError(
                "the stream was left in the middle of a request; open another one"
            )
            self._over = error if isinstance(error, TritoneError) else interrupted
            raise
        return np.concatenate(kept, axis=-1)
