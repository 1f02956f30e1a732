"""The meaning of an error for a stream, by its status."""

from typing import Any

import numpy as np
import pytest

from tritone_client import ServerRefusedError, ServerUnavailableError
from tritone_client.sansio import run
from tritone_client.streams.stream_sessions import StatelessSession
from tritone_client.transport.interface import StatusError


class Refusing:
    """A connection to a server that refuses every request."""

    name, timeout_s = "the server at here:1", 1.0

    def __init__(self, status: str):
        self._status = status

    def ask(self, *_: Any) -> Any:
        raise StatusError(self._status, "no")

    exchange = ready = ask

    def close(self) -> None:
        pass


@pytest.mark.parametrize(
    ("status", "error"),
    [("NOT_FOUND", ServerUnavailableError), ("INVALID_ARGUMENT", ServerRefusedError)],
)
def test_a_model_that_was_there_and_is_gone_means_that_its_server_stops(
    status: str, error: type[Exception]
) -> None:
    single = StatelessSession(Refusing(status), "model", "audio", lambda data: {"tokens": data})
    with pytest.raises(error, match="here:1"):
        run(single.send(np.zeros((1, 1), np.int64)))
