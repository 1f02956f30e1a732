"""Failover: a stream whose server fails continues at another one; no sample is lost or comes twice."""

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
_log.addHandler(logging.NullHandler())  # otherwise Python would print warnings to stderr


@dataclass(frozen=True)
class Resumption:
    """One failover of a stream, as ``on_resume`` and the log get it.

    Attributes:
        from_endpoint: address of the server that failed, or the folder of a repository.
        to_endpoint: where the stream continues.
        reason: text of the error.
        replayed_frames: number of frames that the client sent again.
        seconds: time from the failure to the first answer.
        from_stream: name of the stream in the first server's log.
        to_stream: its name in the second server's log.
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
    """Settings of failover and replay.

    Args:
        deadline_s: longest time without a server, counted from the failure; then NoServerLeftError.
        answer_s: longest wait for one answer of a stream, before the client tries another server.
        first_wait_s: pause after all servers were tried once; it doubles each time.
        most_wait_s: longest of these pauses.
        most_replay_s: longest replay, in seconds of audio; None replays all frames that the model still sees,
            which is exact. Codecs with attention see minutes of the past; a shorter replay is faster, but the
            audio differs at first.
        on_resume: called with a :class:`Resumption` after each failover.
    """

    deadline_s: float = 30.0
    answer_s: float = 10.0
    first_wait_s: float = 0.05
    most_wait_s: float = 1.0
    most_replay_s: float | None = None
    on_resume: Callable[[Resumption], None] | None = None


class Endpoint(Protocol):
    """A place where a session can be opened: ``url`` names it."""

    url: str

    def wait(self, seconds: float) -> Any:
        """Sleep; for asyncio, an awaitable."""


@dataclass(frozen=True)
class ReplaySize:
    """How much of its past a stream keeps for a replay.

    Args:
        hop: time steps of the input in one frame.
        frames: number of newest frames to keep, or a few more.
        longest: most frames in one request of the replay.
        unit: the replay begins at a multiple of so many frames of the stream.
    """

    hop: int
    frames: int
    longest: int
    unit: int = 1


class _Failure(NamedTuple):
    endpoint: str
    stream: str
    reason: ServerUnavailableError | None


class FailoverSession:
    """A session that moves to another server when its server fails.

    Args:
        endpoints: the servers, in the order in which they are tried.
        open_session: opens a session at a server; the flag says that it resumes a stream of another session.
        replay: how many frames are kept for a replay.
        resume: see :class:`Resume`.
    """

    def __init__(
        self,
        endpoints: Iterable[Endpoint],
        open_session: Callable[[Any, bool], StreamSession],
        replay: ReplaySize,
        resume: Resume,
    ):
        self._endpoints, self._open_session = deque(endpoints), open_session
        self._replay, self._resume = replay, resume
        self._past: list[NDArray[Any]] = []
        self._sent: int = 0
        self._session: StreamSession | None = None

    @property
    def tag(self) -> str:
        """Name of the stream in the log of its present server."""
        return "" if self._session is None else self._session.tag

    def send(self, data: NDArray[Any]) -> SansIO[NDArray[Any]]:
        """The answer to the next piece, from the present server or from another one.

        Raises:
            ServerFullError: the stream has not started, and all servers are full.
            NoServerLeftError: no server continued the stream within the deadline.
        """
        answer = yield from self._answer(data)
        self._remember(data)
        return answer

    def _answer(self, data: NDArray[Any]) -> SansIO[NDArray[Any]]:
        failure: ServerUnavailableError | None = None
        if self._session is not None:
            try:
                return (yield from self._session.send(data))
            except ServerUnavailableError as error:
                failure = error
        return (yield from self._answer_elsewhere(data, failure))

    def finish(self) -> SansIO[None]:
        """End the stream. An error of the server is ignored: the client has received all answers."""
        if self._session is None:
            return
        try:
            yield from self._session.finish()
        except ServerUnavailableError:
            yield from self.drop()

    def drop(self) -> SansIO[None]:
        """Free what the stream holds at its server."""
        session, self._session = self._session, None
        if session is not None:
            yield from session.drop()

    def _answer_elsewhere(
        self, data: NDArray[Any], failure: ServerUnavailableError | None
    ) -> SansIO[NDArray[Any]]:
        """Try the servers in turn, repeatedly, until one answers or the deadline has passed."""
        begun, wait_s = time.monotonic(), self._resume.first_wait_s
        failed = _Failure(self._endpoints[0].url, self.tag, failure)
        if failure is not None:
            yield from self._next_server()
        while True:
            full = True
            for _ in range(len(self._endpoints)):
                try:
                    answer = yield from self._answer_at(self._endpoints[0], data)
                except ServerUnavailableError as error:
                    failure, full = error, full and isinstance(error, ServerFullError)
                    yield from self._next_server()
                else:
                    self._report(failed, time.monotonic() - begun)
                    return answer
            if full and not self._past:
                assert failure is not None, "every server was full"
                raise failure
            if time.monotonic() + wait_s > begun + self._resume.deadline_s:
                raise self._no_server_left(failure) from failure
            pause = wait_s
            yield lambda: self._endpoints[0].wait(pause)  # noqa: B023
            wait_s = min(2 * wait_s, self._resume.most_wait_s)

    def _next_server(self) -> SansIO[None]:
        """Leave the server that failed; another one is tried next."""
        yield from self.drop()
        self._endpoints.rotate(-1)

    def _answer_at(self, endpoint: Endpoint, data: NDArray[Any]) -> SansIO[NDArray[Any]]:
        """Open a session, replay the past to it (its answers are discarded), and send the piece."""
        self._session = session = self._open_session(endpoint, bool(self._past))
        if self._past:
            past, longest = self._replayed(), self._replay.longest * self._replay.hop
            for start in range(0, past.shape[-1], longest):
                yield from session.send(past[..., start : start + longest])
        return (yield from session.send(data))

    def _remember(self, data: NDArray[Any]) -> None:
        """Keep the pieces that a replay needs."""
        self._past.append(data)
        self._sent += data.shape[-1]
        while self._past and self._past[0].shape[-1] <= self._surplus():
            self._past.pop(0)

    def _surplus(self) -> int:
        """Time steps of the past that is kept before the first one that a replay needs."""
        unit = self._replay.unit * self._replay.hop
        first = max(0, self._sent - self._replay.frames * self._replay.hop) // unit * unit
        kept: int = sum(each.shape[-1] for each in self._past)
        return first - (self._sent - kept)

    def _replayed(self) -> NDArray[Any]:
        return np.concatenate(self._past, axis=-1)[..., self._surplus() :]

    def _report(self, failed: _Failure, seconds: float) -> None:
        if not self._past:
            return  # the stream has only started
        frames = self._replayed().shape[-1] // self._replay.hop
        resumption = Resumption(
            from_endpoint=failed.endpoint,
            to_endpoint=self._endpoints[0].url,
            reason=str(failed.reason),
            replayed_frames=frames,
            seconds=seconds,
            from_stream=failed.stream,
            to_stream=self.tag,
        )
        _log.warning("%s", resumption, extra={"resumption": vars(resumption)})
        if self._resume.on_resume is not None:
            self._resume.on_resume(resumption)

    def _no_server_left(self, failure: ServerUnavailableError | None) -> NoServerLeftError:
        tried = ", ".join(endpoint.url for endpoint in self._endpoints)
        return NoServerLeftError(
            f"none of the servers {tried} went on with the stream within {self._resume.deadline_s:g} s; "
            f"the last said: {failure}"
        )
