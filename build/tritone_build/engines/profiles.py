"""Optimization profiles: for which shapes an engine is made.

Triton picks the profile whose range a request's shape falls into. Its own choice between ranges that overlap
goes wrong on the axis of time (tensorrt_backend, src/instance_state.cc), so ranges of frames are disjoint.
Batches may be as large in every profile, since the batcher does not look at lengths.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TypeAlias

from tritone_build.codecs.base import Geometry
from tritone_build.engines.buckets import most_frames
from tritone_build.errors import ProfileError
from tritone_build.graphs.role import Role

__all__ = ["MAX_STEP_FRAMES", "Profile", "Shapes", "Span", "profiles_of", "shapes_of"]

Shapes: TypeAlias = Mapping[str, tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]]
"""Of each input: least, usual, most."""


@dataclass(frozen=True)
class Span:
    """A range of sizes, and the one that kernels are chosen for."""

    least: int
    usual: int
    most: int

    def __post_init__(self) -> None:
        if not 1 <= self.least <= self.usual <= self.most:
            raise ProfileError(
                f"a profile needs 1 <= least <= usual <= most, got {self.least}, {self.usual}, {self.most}"
            )

    def __iter__(self) -> Iterator[int]:
        return iter((self.least, self.usual, self.most))

    def scaled(self, factor: int, less: int = 0) -> "Span":
        """``factor`` times as many; ``less`` taken from the least."""
        return Span(self.least * factor - less, self.usual * factor, self.most * factor)


@dataclass(frozen=True)
class Profile:
    """Frames and rows of a batch."""

    name: str
    frames: Span
    batch: Span

    def within(self, least: int, most: int) -> "Profile":
        """Without fewer frames than a network takes, or more than a request may have."""
        return replace(self, frames=Span(*(min(max(least, frames), most) for frames in self.frames)))

    def in_batches(self, most: int) -> "Profile":
        """Without more rows than that."""
        return replace(self, batch=Span(*(min(rows, most) for rows in self.batch)))


_ENCODED_S = 8.0
"""The client's longest piece of sound; of tokens it is twice as long."""
MAX_STEP_FRAMES = 8
"""In one step of a stream: with 256 streams in a batch, more would take more memory than a whole signal."""
WHOLE = (
    Profile("low_latency", Span(1, 1, 8), Span(1, 1, 8)),
    Profile("interactive", Span(9, 32, 64), Span(1, 4, 8)),
    Profile("bulk", Span(65, 256, 384), Span(1, 2, 8)),
)
"""Of models without memory."""
STEPS = (
    Profile("frame", Span(1, 1, 1), Span(1, 64, 256)),
    Profile("catch_up", Span(2, 4, MAX_STEP_FRAMES), Span(1, 8, 256)),
)
"""Of live streams: a frame when it is due, and what a stream has to make up for."""
_MOST_STATE_BYTES = 2 << 30
"""That a batch of streams brings along."""


def profiles_of(role: Role, geometry: Geometry) -> tuple[Profile, ...]:
    """The profiles of an engine.

    Raises:
        ProfileError: ranges of frames overlap or largest batches differ.
    """
    table = WHOLE if role.packing is None else STEPS
    g = geometry
    most = (
        most_frames(g.frame_rate_hz, g.encode_lookaround_frames, g.encode_causal, _ENCODED_S)
        if "audio" in role.inputs
        else most_frames(g.frame_rate_hz, g.lookaround_frames, g.causal)
    )
    profiles = tuple(profile.within(geometry.min_frames, most) for profile in table)
    if role.packing is not None:
        rows = _MOST_STATE_BYTES // role.packing.state_bytes
        profiles = tuple(profile.in_batches(1 << (rows.bit_length() - 1)) for profile in profiles)
    check_profiles(profiles)
    return profiles


def check_profiles(profiles: Sequence[Profile]) -> None:
    """See :func:`profiles_of`."""
    for one, other in pairwise(sorted(profiles, key=lambda profile: profile.frames.least)):
        if one.frames.most >= other.frames.least:
            raise ProfileError(
                f"profiles {one.name} and {other.name} overlap at {other.frames.least} frames; Triton would "
                "pick either"
            )
    if len({profile.batch.most for profile in profiles}) > 1:
        raise ProfileError("profiles of one engine must take equally large batches")


def shapes_of(role: Role, geometry: Geometry, profile: Profile) -> Shapes:
    """Least, usual and most shape of every input in a profile."""
    hop, g = geometry.samples_per_frame, geometry
    # Whole signals may end within a frame, streams come in frames.
    cut = hop - 1 if role.packing is None else 0
    samples = profile.frames.scaled(hop, cut)
    spans = {
        "batch": profile.batch,
        "frames": profile.frames,
        "samples": replace(samples, least=max(samples.least, g.min_samples)),
        "codebooks": Span(g.min_codebooks, g.default_codebooks, g.num_codebooks),
    }
    return {
        name: _of_axes([tuple(spans[axis]) if isinstance(axis, str) else (axis,) * 3 for axis in axes])
        for name, axes in role.inputs.items()
    }


def _of_axes(
    axes: Sequence[tuple[int, ...]],
) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
    least, usual, most = zip(*axes, strict=True)
    return least, usual, most
