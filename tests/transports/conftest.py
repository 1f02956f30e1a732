"""Every test here runs twice: with codecs on a real server, and with codecs in this process."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers.place import Place

from scripts.common.small_codecs import SMALL
from tritone_client import Codec
from tritone_server.launcher import TritonServer


@pytest.fixture(params=["server", "process"])
def place(request: pytest.FixtureRequest, repository: Path) -> Place:
    """The address of a server, or the folder of a repository."""
    if request.param == "process":
        return repository
    server: TritonServer = request.getfixturevalue("server")
    return server.url


@pytest.fixture(params=list(SMALL))
def codec(request: pytest.FixtureRequest, place: Place) -> Iterator[Codec]:
    """A codec; tests run once for each."""
    with Codec(str(request.param), place) as opened:
        yield opened


@pytest.fixture
def causal(place: Place) -> Iterator[Codec]:
    """A codec with live streams in both directions."""
    with Codec("small_nanocodec", place) as opened:
        yield opened
