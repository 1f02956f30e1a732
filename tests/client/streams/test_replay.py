"""Which frames a stream sends again after a failover."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from tritone_client import ServerUnavailableError
from tritone_client.sansio import SansIO, run
from tritone_client.streams.failover import FailoverSession, ReplaySize, Resume

HOP = 3


class Place:
    url = "here:1"

    def wait(self, seconds: float) -> None:
        pass


class Recording:
    """A session that keeps what it is sent, until it breaks."""

    tag = "a stream"

    def __init__(self) -> None:
        self.sent: list[NDArray[Any]] = []
        self.broken = False

    def send(self, data: NDArray[Any]) -> SansIO[NDArray[Any]]:
        if self.broken:
            raise ServerUnavailableError("gone")
        self.sent.append(data)
        yield lambda: None
        return data

    def drop(self) -> SansIO[None]:
        yield lambda: None

    finish = drop


@settings(deadline=None)
@given(
    sizes=st.lists(st.integers(1, 9), min_size=1, max_size=30),
    frames=st.integers(1, 12),
    unit=st.sampled_from([1, 4, 8]),
)
def test_a_replay_has_the_newest_frames_and_begins_at_a_multiple(
    sizes: list[int], frames: int, unit: int
) -> None:
    sessions: list[Recording] = []

    def opened(_: Any, resumed: bool) -> Recording:
        assert resumed == bool(sessions)
        sessions.append(Recording())
        return sessions[-1]

    stream = FailoverSession([Place()], opened, ReplaySize(HOP, frames, 5, unit), Resume())
    steps = np.arange(sum(sizes) * HOP)[None]
    *earlier, last = np.split(steps, np.cumsum(sizes)[:-1] * HOP, axis=1)
    for piece in earlier:
        run(stream.send(piece))
    if earlier:
        sessions[0].broken = True
    assert np.array_equal(run(stream.send(last)), last)
    assert all(each.shape[1] <= 5 * HOP for each in sessions[-1].sent[:-1])
    seen = np.concatenate(sessions[-1].sent, axis=1)[0]
    before = sum(sizes[:-1])
    first = max(0, before - frames) // unit * unit
    assert np.array_equal(seen, steps[0, first * HOP :])


@pytest.mark.parametrize("unit", [1, 8])
def test_a_stream_keeps_no_more_than_a_replay_needs(unit: int) -> None:
    session = Recording()
    stream = FailoverSession([Place()], lambda *_: session, ReplaySize(HOP, 6, 5, unit), Resume())
    for number in range(200):
        run(stream.send(np.full((1, HOP), number)))
    assert sum(each.shape[1] for each in stream._past) < (6 + unit) * HOP
