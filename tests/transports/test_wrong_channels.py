"""Audio with other channels than the codec's, past the client's checks: it is refused, and streams go on."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any

import numpy as np
import pytest
from helpers.place import Place
from helpers.servers.raw import HANGS_S, new_id
from helpers.signals import sound
from numpy.typing import NDArray

from scripts.common.small_codecs import SMALL
from tritone_client import Codec, ServerRefusedError
from tritone_client.transport import interface
from tritone_client.transport.grpc_transport import Transport
from tritone_client.transport.interface import Request, StatusError
from tritone_client.transport.local import LocalTransport

NAME = "small_moss_nano"
HOP, BOOKS = SMALL[NAME]["downsample_rate"], SMALL[NAME]["quantizer_kwargs"]["num_quantizers"]
FRAMES = 20
SHAPES = {
    "mono": (4 * HOP,),
    "one channel": (1, 4 * HOP),
    "three channels": (3, 4 * HOP),
    "channels last": (4 * HOP, 2),
}
REASONS = (
    r"unexpected shape for input 'audio'.* Expected \[-1,2,-1\]"
    r"|audio must have 2 channel\(s\), \[2, samples\]"
)
"""Triton's, and that of the models in this process."""

pytestmark = pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)


@pytest.fixture
def transport(place: Place) -> Iterator[Transport | LocalTransport]:
    """Sends what it is given, unchecked."""
    opened = Transport(place, HANGS_S) if isinstance(place, str) else LocalTransport(place)
    with closing(opened):
        yield opened


def step(audio: NDArray[np.float32], stream: int, start: bool = False, end: bool = False) -> Request:
    arrays: dict[str, Any] = {"audio": audio[None], "num_codebooks": np.array([[BOOKS]])}
    return Request(f"{NAME}_encode_stream", arrays, "tokens", interface.Place(stream, start, end))


def test_a_whole_input_is_refused_and_the_next_good_one_is_not(
    shape: tuple[int, ...], transport: Transport | LocalTransport
) -> None:
    model, length = f"{NAME}_encode", np.array([[4 * HOP]])
    with pytest.raises(ServerRefusedError, match=REASONS):
        transport.results(
            [(model, {"audio": np.zeros((1, *shape), np.float32), "audio_len": length})], "tokens"
        )
    good = {"audio": np.zeros((1, 2, 4 * HOP), np.float32), "audio_len": length}
    (tokens,) = transport.results([(model, good)], "tokens")
    assert tokens.shape == (1, BOOKS, 4)


def expect_refusal(ask: Callable[[], object]) -> None:
    with pytest.raises(StatusError, match=REASONS) as caught:
        ask()
    assert caught.value.status == "INVALID_ARGUMENT"


def test_a_step_is_refused_and_its_stream_and_those_beside_it_go_on(
    shape: tuple[int, ...], place: Place, transport: Transport | LocalTransport
) -> None:
    """Refused steps are sent at the same time as good ones."""
    bad, stream = np.zeros(shape, np.float32), new_id()
    with (
        Codec(NAME, place) as codec,
        codec.encode_stream(codec.info.sample_rate_hz, BOOKS) as beside,
        closing(transport.connection()) as connection,
        closing(transport.connection()) as other_connection,
        ThreadPoolExecutor(1) as pool,
    ):
        audio = [sound(codec.info, FRAMES, seed) for seed in (1, 2)]
        pieces = []
        for frame in range(FRAMES):
            first, second = (each[:, frame * HOP : (frame + 1) * HOP] for each in audio)
            begun = pool.submit(other_connection.ask, step(bad, new_id(), start=True))
            own = connection.ask(step(first, stream, frame == 0, frame == FRAMES - 1))[0]
            pieces.append((own, beside.push(second)))
            expect_refusal(begun.result)
            if frame < FRAMES - 1:
                expect_refusal(lambda: connection.ask(step(bad, stream)))
        for whole, tokens in zip(audio, zip(*pieces, strict=True), strict=True):
            expected = codec.encode(whole, codec.info.sample_rate_hz, BOOKS)
            assert np.array_equal(np.concatenate(tokens, axis=1), expected)
