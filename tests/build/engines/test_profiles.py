"""Profiles: shapes that Triton can tell apart, for every engine of every codec."""

import pytest
import torch

from tritone_build.codecs import VARIANTS, outline_of
from tritone_build.engines.profiles import Profile, Span, check_profiles, profiles_of, shapes_of
from tritone_build.errors import ProfileError
from tritone_build.graphs.roles import roles


def test_a_span_that_is_upside_down_is_refused_with_its_numbers() -> None:
    with pytest.raises(ProfileError, match="got 4, 2, 8"):
        Span(4, 2, 8)
    with pytest.raises(ProfileError, match="got 0, 1, 1"):
        Span(0, 1, 1)


def test_profiles_that_overlap_or_differ_in_their_largest_batch_are_refused() -> None:
    batch = Span(1, 1, 8)
    with pytest.raises(ProfileError, match="short and long overlap at 4 frames"):
        check_profiles([Profile("long", Span(4, 8, 9), batch), Profile("short", Span(1, 2, 4), batch)])
    with pytest.raises(ProfileError, match="equally large batches"):
        check_profiles([Profile("a", Span(1, 1, 1), batch), Profile("b", Span(2, 2, 2), Span(1, 1, 9))])


@pytest.mark.parametrize("name", list(VARIANTS))
def test_every_length_up_to_the_longest_falls_into_one_profile(name: str) -> None:
    with torch.device("meta"):
        codec = outline_of(VARIANTS[name])
        engines = [role for role in roles(codec, "tensorrt") if role.engine]
    g = codec.geometry
    for role in engines:
        profiles = profiles_of(role, g)
        last = g.min_frames - 1
        for profile in profiles:
            assert profile.frames.least == last + 1
            last = profile.frames.most
            for least, usual, most in shapes_of(role, g, profile).values():
                assert all(a <= b <= c for a, b, c in zip(least, usual, most, strict=True))


def test_whole_signals_may_end_within_a_frame_and_streams_may_not() -> None:
    with torch.device("meta"):
        codec = outline_of(VARIANTS["mimi"])
        parts = {role.name: role for role in roles(codec, "tensorrt")}
    g, hop = codec.geometry, codec.geometry.samples_per_frame
    encode = [shapes_of(parts["encode"], g, profile)["audio"] for profile in profiles_of(parts["encode"], g)]
    assert [least[1] for least, _, _ in encode] == [hop, 8 * hop + 1, 64 * hop + 1]
    stream = [
        shapes_of(parts["encode_stream"], g, profile)["audio"]
        for profile in profiles_of(parts["encode_stream"], g)
    ]
    assert [(least[1], most[1]) for least, _, most in stream] == [(hop, hop), (2 * hop, 8 * hop)]
