"""Streams that outlive a server: what failed goes on at another one, without a sample lost or heard twice."""

import logging
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from tritone_client.errors import NoServerLeftError, ServerFullError, ServerUnavailableError
from tritone_client.sansio import SansIO
from tritone_client.streams.stream_sessions import StreamSession

__all__ = ["Endpoint", "FailoverSession", "ReplaySize", "Resume", "Resumption"]

_log = logging.getLogger("tritone_client")
_log.addHandler(logging.NullHandler())  # who wants to read it says so; else it would go to stderr


@dataclass(frozen=True)
class Resumption:
    """A stream went on: from where, to where, why, how many frames were replayed, and how long it took.

    ``from_stream`` and ``to_stream`` are its names in the logs of the two servers.
    """

    from_endpoint: str
    to_endpoint: str
    reason: str
    replayed_frames: int
    seconds: float
    from_stream: str
    to_stream: str


@dataclass(frozen=True)
class Resume:
    """How streams go on elsewhere.

    Args:
        deadline_s: longest time without a server, from the failure on; then NoServerLeftError.
        answer_s: longest wait for one answer before another server is tried.
        first_wait_s: before the servers are tried a second time; doubled each time.
        most_wait_s: what these waits grow to.
        most_replay_s: of sound that is computed again; None for all that matters, which is exact. Codecs
            with attention see minutes back; less is quicker, and differs from the whole at first.
        on_resume: called with every :class:`Resumption`.
    """

    deadline_s: float = 30.0
    answer_s: float = 10.0
    first_wait_s: float = 0.05
    most_wait_s: float = 1.0
    most_replay_s: float | None = None
    on_resume: Callable[[Resumption], None] | None = None


class Endpoint(Protocol):
    """A server: ``url``, and a wait as it suits its transport."""

    url: str

    def wait(self, seconds: float) -> Any:
        """Sleep, or an awaitable of it."""


@dataclass(frozen=True)
class ReplaySize:
    """What a fresh stream must see again before it goes on.

    Args:
        steps: time steps of the input in one frame.
        frames: kept, the newest.
        longest: frames in one request.
    """

    steps: int
    frames: int
    longest: int


class _FailedAt(NamedTuple):
    url: str
    stream: str
    reason: ServerUnavailableError | None


class FailoverSession:
    """A session that goes from server to server.

    Args:
        endpoints: in the order in which they are tried.
        opened: a fresh session at one of them; whether it goes on with what was elsewhere before.
        past: what is kept.
        resume: see :class:`Resume`.
    """

    def __init__(
        self,
        endpoints: Iterable[Endpoint],
        opened: Callable[[Any, bool], StreamSession],
        past: ReplaySize,
        resume: Resume,
    ):
        self._endpoints, self._opened, self._size, self._resume = deque(endpoints), opened, past, resume
        self._past: list[NDArray[Any]] = []
        self._stream_session: StreamSession | None = None

    @property
    def tag(self) -> str:
        """Of the stream at the server where it is now."""
        return "" if self._stream_session is None else self._stream_session.tag

    def send(self, data: NDArray[Any]) -> SansIO[NDArray[Any]]:
        """The answer to the next piece, from whichever server gives it.

        Raises:
            ServerFullError: a stream that has not begun, and all servers are full.
            NoServerLeftError: none took it on in time.
        """
        answer = yield from self._answer(data)
        self._remember(data)
        return answer

    def _answer(self, data: NDArray[Any]) -> SansIO[NDArray[Any]]:
        failure: ServerUnavailableError | None = None
        if self._stream_session is not None:
            try:
                return (yield from self._stream_session.send(data))
            except ServerUnavailableError as error:
                failure = error
        return (yield from self._elsewhere(data, failure))

    def finish(self) -> SansIO[None]:
        """Tell the server; one that has gone need not be told, since every answer has been heard."""
        if self._stream_session is None:
            return
        try:
            yield from self._stream_session.finish()
        except ServerUnavailableError:
            yield from self.drop()

    def drop(self) -> SansIO[None]:
        """Give back what is held."""
        session, self._stream_session = self._stream_session, None
        if session is not None:
            yield from session.drop()

    def _elsewhere(self, data: NDArray[Any], failure: ServerUnavailableError | None) -> SansIO[NDArray[Any]]:
        """Try the servers in turn, again and again, until one has answered or time is up."""
        begun, wait_s = time.monotonic(), self._resume.first_wait_s
        left = _FailedAt(self._endpoints[0].url, self.tag, failure)
        if failure is not None:
            yield from self._leave()
        while True:
            full = True
            for _ in range(len(self._endpoints)):
                try:
                    answer = yield from self._begun_at(self._endpoints[0], data)
                except ServerUnavailableError as error:
                    failure, full = error, full and isinstance(error, ServerFullError)
                    yield from self._leave()
                else:
                    self._tell(left, time.monotonic() - begun)
                    return answer
            if full and not self._past:
                assert failure is not None, "every server was full"
                raise failure
            if time.monotonic() + wait_s > begun + self._resume.deadline_s:
                raise self._given_up(failure) from failure
            pause = wait_s
            yield lambda: self._endpoints[0].wait(pause)  # noqa: B023
            wait_s = min(2 * wait_s, self._resume.most_wait_s)

    def _leave(self) -> SansIO[None]:
        """The server that failed; another one is next."""
        yield from self.drop()
        self._endpoints.rotate(-1)

    def _begun_at(self, endpoint: Endpoint, data: NDArray[Any]) -> SansIO[NDArray[Any]]:
        """A fresh stream that has seen the past, whose answers were heard before, and then the piece."""
        self._stream_session = session = self._opened(endpoint, bool(self._past))
        if self._past:
            past, longest = np.concatenate(self._past, axis=-1), self._size.longest * self._size.steps
            for start in range(0, past.shape[-1], longest):
                yield from session.send(past[..., start : start + longest])
        return (yield from session.send(data))

    def _remember(self, data: NDArray[Any]) -> None:
        """The newest frames, all of one length at most."""
        self._past.append(data)
        most, steps = self._size.frames * self._size.steps, sum(each.shape[-1] for each in self._past)
        while self._past and steps - self._past[0].shape[-1] >= most:
            steps -= self._past.pop(0).shape[-1]

    def _tell(self, left: "_FailedAt", seconds: float) -> None:
        if not self._past:
            return  # the stream only begins
        frames = sum(each.shape[-1] for each in self._past) // self._size.steps
        taken, tag = self._endpoints[0].url, self.tag
        happened = Resumption(left.url, taken, str(left.reason), frames, seconds, left.stream, tag)
        _log.warning("%s", happened, extra={"resumption": vars(happened)})
        if self._resume.on_resume is not None:
            self._resume.on_resume(happened)

    def _given_up(self, failure: ServerUnavailableError | None) -> NoServerLeftError:
        tried = ", ".join(endpoint.url for endpoint in self._endpoints)
        return NoServerLeftError(
            f"none of the servers {tried} went on with the stream within {self._resume.deadline_s:g} s; "
            f"the last said: {failure}"
        )
