"""A prefix that cannot be sent ends its stream: no later push may begin without it."""

from typing import Any

import numpy as np
import pytest

from tritone_client import ServerFullError, StreamClosedError
from tritone_client.formats.output import TokenOutput
from tritone_client.sansio import SansIO, run
from tritone_client.streams.chunking import FrameChunker
from tritone_client.streams.handle import StreamHandle
from tritone_client.streams.live import LiveStream

NOTHING: Any = None


class Failing:
    """A session that fails with an error at its first request."""

    tag = "stream"

    def __init__(self, error: BaseException):
        self._error, self.dropped = error, 0

    def send(self, data: Any) -> SansIO[Any]:
        yield lambda: None
        raise self._error

    def finish(self) -> SansIO[None]:
        yield lambda: None

    def drop(self) -> SansIO[None]:
        self.dropped += 1
        yield lambda: None


@pytest.mark.parametrize(
    ("error", "later"), [(ServerFullError("full"), ServerFullError), (KeyboardInterrupt(), StreamClosedError)]
)
def test_the_stream_has_ended_and_is_not_opened_again(
    error: BaseException, later: type[BaseException]
) -> None:
    session, opened = Failing(error), []

    def open_stream() -> SansIO[LiveStream]:
        opened.append(1)
        yield from ()
        chunker = FrameChunker(1, 1, 8)
        before = chunker.prime(np.zeros((1, 3), np.int64), 8)
        return LiveStream(NOTHING, chunker, session, TokenOutput(1), before=before)

    handle = StreamHandle(open_stream)
    with pytest.raises(type(error)):
        run(handle.open())
    assert session.dropped == 1, "its place at the server is free"
    for _ in range(2):
        with pytest.raises(later):
            run(handle.push(np.zeros((1, 1), np.int64)))
    assert opened == [1]
    assert run(handle.close()).shape == (1, 0)
