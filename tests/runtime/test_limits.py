"""What a request may hold, whatever its client has checked."""

import numpy as np
import pytest

from tritone_runtime.errors import BadInputError
from tritone_runtime.limits import RequestLimits

RATE = {"sample_rate": "48000", "samples_per_frame": "3840"}


def audio(*shape: int) -> dict[str, np.ndarray]:
    return {"audio": np.zeros((1, *shape), np.float32)}


@pytest.mark.parametrize(("channels", "right"), [("1", (960,)), ("2", (2, 960))])
def test_audio_has_the_channels_of_the_model(channels: str, right: tuple[int, ...]) -> None:
    limits = RequestLimits(RATE | {"num_channels": channels}, 1.0)
    limits.check(audio(*right))
    for wrong in {(960,), (1, 960), (2, 960), (960, 2), (1, 2, 960)} - {right}:
        with pytest.raises(BadInputError, match=rf"audio must have {channels} channel\(s\)"):
            limits.check(audio(*wrong))


def test_the_length_of_stereo_audio_is_that_of_one_channel() -> None:
    limits = RequestLimits(RATE | {"num_channels": "2"}, 1.0)
    limits.check(audio(2, 48000))
    with pytest.raises(BadInputError, match="at most 1 s of audio in a request"):
        limits.check(audio(2, 48001))


def test_a_model_may_take_less_than_usual_and_says_what_to_do() -> None:
    limits = RequestLimits(RATE | {"longest_call_s": "16.7"}, 300.0)
    limits.check({"tokens": np.zeros((1, 2, 208), np.int64)})
    limits.check({"tokens": np.zeros((2, 2, 104), np.int64)})
    with pytest.raises(
        BadInputError, match=r"at most 16.7 s .* got 16.72 s; send it in pieces or as a stream"
    ):
        limits.check({"tokens": np.zeros((1, 2, 209), np.int64)})
