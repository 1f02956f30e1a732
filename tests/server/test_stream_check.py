"""What is said of a stream that is not its whole: where it goes wrong, by how much, and whose sound it is."""

import numpy as np
import pytest
from numpy.typing import NDArray

from scripts.common.prepare import PrepareError, checkpoint_behind
from scripts.common.rounding import MARGIN_DB, limit_of, measured_limit
from scripts.peers import Reference
from tritone_build.codecs.base import Codec as BuiltCodec
from tritone_client import Codec, Resumption
from tritone_server.launcher import TritonServer
from tritone_server.stream_check import Limit, compared, frames_db

HOP, FRAMES, LIMIT = 50, 12, Limit(110, 100)


def speech(seed: int) -> NDArray[np.float32]:
    return np.random.default_rng(seed).standard_normal(FRAMES * HOP).astype(np.float32)


def rounded(whole: NDArray[np.float32]) -> NDArray[np.float32]:
    return whole + np.float32(1e-6) * speech(9)


def with_frame(number: int, piece: NDArray[np.float32]) -> NDArray[np.float32]:
    heard = rounded(speech(0))
    heard[number * HOP : (number + 1) * HOP] = piece
    return heard


def test_a_stream_that_differs_by_rounding_is_right() -> None:
    found = compared(speech(0), rounded(speech(0)), HOP, LIMIT)
    assert found.ok
    assert str(found).endswith("dB, 110.0 wanted; no failover")
    assert 115 < found.db < 125


@pytest.mark.parametrize(
    ("number", "piece", "source"),
    [
        (7, rounded(speech(1))[3 * HOP : 4 * HOP], r"frame 3 of place 1 (12\d dB)"),
        (7, rounded(speech(0))[6 * HOP : 7 * HOP], r"frame 6 of its own whole (12\d dB)"),
        (0, np.zeros(HOP, np.float32), "silence"),
        (11, np.full(HOP, np.nan, np.float32), "not finite"),
        (4, speech(5)[:HOP], "the sound of no known stream"),
    ],
    ids=["foreign", "repeated", "silent", "nan", "unknown"],
)
def test_the_first_wrong_frame_says_whose_sound_it_is(
    number: int, piece: NDArray[np.float32], source: str
) -> None:
    others = {"place 1": speech(1), "place 2": speech(2)}
    found = compared(speech(0), with_frame(number, piece), HOP, LIMIT, others)
    assert found.wrong_frame == number
    assert found.frames_db[number] < 10
    assert f"frame {number} is the first wrong one: " in str(found)
    head, _, tail = source.partition("12\\d")
    assert found.source.startswith(head)
    assert found.source.endswith(tail)


def test_a_stream_that_is_short_or_long_is_wrong_from_there_on() -> None:
    whole = speech(0)
    short = compared(whole, rounded(whole)[: 9 * HOP], HOP, LIMIT)
    assert (short.ok, short.wrong_frame, short.source) == (False, 9, "missing")
    assert "frame 9 is the first wrong one: missing; 450 of 600 samples" in str(short)
    long = compared(whole, np.concatenate([rounded(whole), whole[:HOP]]), HOP, LIMIT)
    assert (long.wrong_frame, long.source) == (FRAMES, "frame 0 of its own whole (inf dB)")
    assert not compared(whole, whole[:0], HOP, LIMIT).ok


def stereo(seed: int) -> NDArray[np.float32]:
    """Two channels that differ, [2, S]."""
    return np.stack([speech(seed), speech(seed + 100)])


def test_a_stereo_stream_is_right_if_both_channels_are() -> None:
    found = compared(stereo(0), stereo(0) + np.float32(1e-6) * stereo(9), HOP, LIMIT)
    assert found.ok, found
    assert (found.expected, found.delivered, len(found.frames_db)) == (FRAMES * HOP, FRAMES * HOP, FRAMES)
    assert 115 < found.db < 125


@pytest.mark.parametrize("channel", [0, 1])
def test_a_frame_that_is_wrong_in_one_channel_is_wrong(channel: int) -> None:
    heard = stereo(0)
    heard[channel, 4 * HOP : 5 * HOP] = 0
    found = compared(stereo(0), heard, HOP, LIMIT)
    assert (found.wrong_frame, found.source) == (4, "the sound of no known stream")
    assert np.flatnonzero(found.frames_db < LIMIT.frame_db).tolist() == [4]


def test_exchanged_channels_are_wrong_from_the_first_frame() -> None:
    assert compared(stereo(0), stereo(0)[::-1], HOP, LIMIT).wrong_frame == 0


def test_the_sound_of_another_stereo_stream_is_recognised_among_mono_ones() -> None:
    heard = stereo(0)
    heard[:, 7 * HOP : 8 * HOP] = stereo(1)[:, 3 * HOP : 4 * HOP]
    found = compared(stereo(0), heard, HOP, LIMIT, {"mono": speech(1), "stereo": stereo(1)})
    assert (found.wrong_frame, found.source) == (7, "frame 3 of stereo (inf dB)")


def test_a_stereo_stream_that_is_short_or_long_is_wrong_from_there_on() -> None:
    whole = stereo(0)
    short = compared(whole, whole[:, : 9 * HOP], HOP, LIMIT)
    assert (short.ok, short.wrong_frame, short.source) == (False, 9, "missing")
    assert "missing; 450 of 600 samples" in str(short)
    within = compared(whole, whole[:, : 9 * HOP + 7], HOP, LIMIT)
    assert (within.wrong_frame, within.source) == (9, "a part of a frame")
    long = compared(whole, np.concatenate([whole, whole[:, :HOP]], axis=1), HOP, LIMIT)
    assert (long.wrong_frame, long.source) == (FRAMES, "frame 0 of its own whole (inf dB)")


@pytest.mark.parametrize("shape", [(0,), (2, 0)])
def test_a_stereo_stream_that_gave_nothing_misses_its_first_frame(shape: tuple[int, ...]) -> None:
    found = compared(stereo(0), np.zeros(shape, np.float32), HOP, LIMIT)
    assert (found.delivered, found.wrong_frame, found.source) == (0, 0, "missing")


def test_a_stream_of_other_channels_is_not_compared() -> None:
    with pytest.raises(ValueError, match=r"the channels differ: the whole is \[2, 600\], the stream \[600\]"):
        compared(stereo(0), speech(0), HOP, LIMIT)


def test_noise_over_all_frames_is_wrong_though_each_is_within_its_limit() -> None:
    noisy = speech(0) + np.float32(5e-6) * speech(9)
    found = compared(speech(0), noisy, HOP, LIMIT)
    assert found.wrong_frame == int(frames_db(speech(0), noisy, HOP).argmin())


def test_failovers_stand_beside_what_was_heard() -> None:
    moved = Resumption("one:8001", "two:8001", "killed", 28, 0.4, "a", "b")
    found = compared(speech(0), speech(0), HOP, LIMIT, failovers=[moved, moved])
    assert "2 failovers: one:8001 -> two:8001 (killed; 28 frames replayed), one" in str(found)


def test_the_limit_is_what_the_authors_own_rounding_leaves_and_a_margin(
    codec: Codec, codecs: dict[str, BuiltCodec], references: dict[str, Reference]
) -> None:
    info = codec.info
    tokens = np.random.default_rng(0).integers(0, info.codebook_size, (info.num_codebooks, 20))
    limit = measured_limit(references[info.name], codecs[info.name], tokens)
    assert limit.frame_db < limit.whole_db < 140 - MARGIN_DB, "FP32 has 24 bits"
    assert limit.frame_db > 60, "or a foreign frame would pass"
    assert limit_of(codec, tokens) == limit
    assert limit_of(codec, tokens) is limit_of(codec, tokens.copy()), "measured once"


def test_models_of_an_unknown_checkpoint_have_no_limit(server: TritonServer) -> None:
    with Codec("small_nanocodec", server.url) as codec:
        sha256 = codec.info.checkpoint_sha256
    assert checkpoint_behind("small_nanocodec", sha256).sha256 == sha256
    with pytest.raises(PrepareError, match=r"SHA-256 0000.*build the models again"):
        checkpoint_behind("small_nanocodec", "0000")
