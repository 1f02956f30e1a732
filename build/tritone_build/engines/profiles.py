"""Optimization profiles: the ranges of shapes for which an engine is built.

Triton picks the profile whose range contains the shape of a request. If ranges overlap, its choice ignores
the time axis (tensorrt_backend, src/instance_state.cc), so the ranges of frames are disjoint. The largest
batch is the same in all profiles, because Triton's batcher does not look at lengths.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TypeAlias

from tritone_build.codecs.base import Geometry
from tritone_build.engines.buckets import most_frames
from tritone_build.engines.capacity import USUAL, Capacity
from tritone_build.errors import ProfileError
from tritone_build.graphs.role import Role

__all__ = ["MAX_STEP_FRAMES", "Profile", "Shapes", "Span", "profiles_of", "shapes_of"]

Shapes: TypeAlias = Mapping[str, tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]]
"""For each input: smallest shape, usual shape, largest shape."""


@dataclass(frozen=True)
class Span:
    """A range of sizes, and the usual size, for which TensorRT chooses its kernels."""

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
        """Multiply the sizes by ``factor``, and subtract ``less`` from the smallest."""
        return Span(self.least * factor - less, self.usual * factor, self.most * factor)


@dataclass(frozen=True)
class Profile:
    """A range of frames and a range of batch sizes."""

    name: str
    frames: Span
    batch: Span

    def within(self, least: int, most: int) -> "Profile":
        """Limit the frames to those that a network takes and a request may have."""
        return replace(self, frames=Span(*(min(max(least, frames), most) for frames in self.frames)))

    def in_batches(self, most: int) -> "Profile":
        """Limit the batch to ``most`` rows."""
        return replace(self, batch=Span(*(min(rows, most) for rows in self.batch)))


_ENCODED_S = 8.0
"""The client's longest chunk of audio to encode; its longest chunk of tokens is twice as long."""
MAX_STEP_FRAMES = 8
"""Frames in one step of a stream; 256 streams with more frames would need more memory than a whole signal."""
WHOLE = (
    Profile("low_latency", Span(1, 1, 8), Span(1, 1, 8)),
    Profile("interactive", Span(9, 32, 64), Span(1, 4, 8)),
    Profile("bulk", Span(65, 256, 384), Span(1, 2, 8)),
)
"""Profiles of stateless models."""
STEPS = (
    Profile("frame", Span(1, 1, 1), Span(1, 64, 256)),
    Profile("catch_up", Span(2, 4, MAX_STEP_FRAMES), Span(1, 8, 256)),
)
"""Profiles of live streams: a frame at a time, and several frames when a stream catches up."""


def profiles_of(role: Role, geometry: Geometry, capacity: Capacity = USUAL) -> tuple[Profile, ...]:
    """Return the profiles of an engine; the memory of the GPU limits the batches of live streams.

    Raises:
        ProfileError: ranges of frames overlap, or the largest batches differ.
    """
    table = WHOLE if role.packing is None else STEPS
    g = geometry
    most = (
        most_frames(
            g.frame_rate_hz,
            g.encode_lookaround_frames,
            g.encode_causal,
            max(_ENCODED_S, g.encode_whole_s),
        )
        if "audio" in role.inputs
        else most_frames(g.frame_rate_hz, g.lookaround_frames, g.causal)
    )
    fitting = [profile for profile in table if profile.frames.least <= most]
    profiles = tuple(profile.within(geometry.min_frames, most) for profile in fitting)
    if role.packing is not None:
        rows = capacity.rows(role.packing.state_bytes)
        profiles = tuple(profile.in_batches(rows) for profile in profiles)
    check_profiles(profiles)
    return profiles


def check_profiles(profiles: Sequence[Profile]) -> None:
    """Raise ProfileError if ranges of frames overlap or the largest batches differ."""
    for one, other in pairwise(sorted(profiles, key=lambda profile: profile.frames.least)):
        if one.frames.most >= other.frames.least:
            raise ProfileError(
                f"profiles {one.name} and {other.name} overlap at {other.frames.least} frames, where Triton "
                "would pick either; make the ranges disjoint"
            )
    if len({profile.batch.most for profile in profiles}) > 1:
        raise ProfileError("profiles of one engine must take equally large batches")


def shapes_of(role: Role, geometry: Geometry, profile: Profile, slots: int = 1) -> Shapes:
    """Return the smallest, usual and largest shape of every input in a profile.

    Args:
        role: the role of the engine.
        geometry: of the codec.
        profile: frames and rows.
        slots: most slots of a step that reads its state from numbered rows.
    """
    hop, g = geometry.encode_samples_per_frame, geometry
    # A whole signal may end within a frame; a stream consists of whole frames.
    cut = hop - 1 if role.packing is None else 0
    samples = profile.frames.scaled(hop, cut)
    spans = {
        "batch": profile.batch,
        "frames": profile.frames,
        "samples": replace(samples, least=max(samples.least, g.min_samples)),
        "slots": Span(1, slots, slots),
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
