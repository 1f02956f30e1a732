"""What is measured: points, in order of importance, and the readings that each one gives."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from scripts.common.prepare import DEFAULT_CODECS, MEASURED
from scripts.common.small_codecs import SMALL
from tritone_build.codecs import outline_of
from tritone_build.codecs.base import Geometry, Variant

__all__ = ["CODECS", "PARTS", "Point", "Reading", "Settings", "SkippedError", "codecs_by_default", "planned"]

PARTS = ("torch", "precision", "live", "state", "others")
CODECS: Mapping[str, Variant] = MEASURED | {name: Variant(name, "", config) for name, config in SMALL.items()}
"""Every codec that can be measured; the small ones are for rehearsals."""
_FIRST = ("mimi", "nanocodec")
_FIRST_SMALL = ("small_mimi", "small_nanocodec")
_KINDS = ("graph", "runtime", "folded", "eager")
_COMPILED = ("compiled", "compiled_graph")


class SkippedError(RuntimeError):
    """A point cannot be measured on this machine; the message says why."""


@dataclass(frozen=True)
class Settings:
    """How a whole run measures.

    Attributes:
        device: ``cuda`` or ``cpu``.
        tiny: rehearse with few streams and little time at each point.
    """

    device: str
    tiny: bool

    @property
    def batches(self) -> Sequence[int]:
        """Numbers of streams in a step, the most important ones first."""
        return (1, 4) if self.tiny else (1, 256, 64, 8, 1024)

    @property
    def streams(self) -> Sequence[int]:
        """Numbers of streams whose state is on the device."""
        return (2, 4) if self.tiny else (256, 1024, 512, 2000)

    @property
    def whole_frames(self) -> Sequence[int]:
        """Lengths of whole inputs, which are buckets."""
        return (8,) if self.tiny else (8, 64, 256)


@dataclass(frozen=True)
class Point:
    """One thing to measure.

    Attributes:
        part: of the kit, see ``PARTS``.
        codec: its name.
        model: role of the codec's model, such as ``decode_stream``.
        kind: how the model is run.
        batch: number of rows or live streams; 0 if the point itself goes through several.
        importance: points with lower numbers are measured first.
        weights: precision of the weights.
        frames: number of frames in each row.
        limit_s: seconds after which the point is given up.
    """

    part: str
    codec: str
    model: str
    kind: str
    batch: int
    importance: int
    weights: str = "fp16"
    frames: int = 1
    limit_s: float = 150.0

    @property
    def key(self) -> dict[str, str | int]:
        """What identifies the point in the report."""
        return {
            "part": self.part,
            "codec": self.codec,
            "model": self.model,
            "kind": self.kind,
            "batch": self.batch,
            "weights": self.weights,
            "frames": self.frames,
        }


@dataclass(frozen=True)
class Reading:
    """A measured value; ``kind``, ``batch`` and ``frames`` replace those of a point with several values."""

    value: float
    unit: str
    kind: str = ""
    batch: int | None = None
    frames: int | None = None
    note: str = ""


def codecs_by_default(tiny: bool) -> list[str]:
    """Codecs that are measured unless others are named, the most important ones first."""
    return list(_FIRST_SMALL) if tiny else [*_FIRST, *(name for name in DEFAULT_CODECS if name not in _FIRST)]


def planned(codecs: Sequence[str], parts: Sequence[str], settings: Settings) -> list[Point]:
    """The points of these codecs and parts, the most important ones first."""
    points: list[Point] = []
    for place, codec in enumerate(codecs):
        geometry = outline_of(CODECS[codec]).geometry
        for part in parts:
            points += (_late(point, place) for point in _PLANS[part](codec, geometry, settings))
    return sorted(points, key=lambda point: point.importance)


def _late(point: Point, place: int) -> Point:
    """The point, later for codecs after the first two; their precision still comes before most points."""
    if place < len(_FIRST):
        return point
    return replace(point, importance=point.importance + (5 if point.part == "precision" else 100))


def _steps(geometry: Geometry) -> list[str]:
    steps = {"decode_stream": geometry.stepwise, "encode_stream": geometry.encode_stepwise}
    return [name for name, stepwise in steps.items() if stepwise]


def _torch(codec: str, geometry: Geometry, settings: Settings) -> Iterator[Point]:
    leading = settings.batches[:2]
    for model in _steps(geometry):
        later = 0 if model == "decode_stream" else 20
        for batch in settings.batches:
            rest = 0 if batch in leading else 10
            for kind in _KINDS:
                first = {"graph": 0, "runtime": 1, "eager": 2, "folded": 2}[kind]
                yield Point("torch", codec, model, kind, batch, first + rest + later)
            yield Point("torch", codec, model, "graph", batch, 11 + rest + later, "fp32")
            for kind in _COMPILED:
                yield Point("torch", codec, model, kind, batch, 15 + rest + later, limit_s=240)
    for bucket in settings.whole_frames:
        frames = max(bucket, geometry.min_frames)
        for batch in (1, 8) if not settings.tiny else (1,):
            for kind in ("eager", "graph"):
                yield Point("torch", codec, "vocoder", kind, batch, 17, frames=frames)


def _precision(codec: str, geometry: Geometry, settings: Settings) -> Iterator[Point]:
    for model in [*_steps(geometry), "vocoder"]:
        yield Point("precision", codec, model, "fp16_against_fp32", 2, 3)
        if model != "vocoder":
            yield Point("precision", codec, model, "device_against_cpu", 2, 4, "fp32")


def _live(codec: str, geometry: Geometry, settings: Settings) -> Iterator[Point]:
    if geometry.causal:
        for kind, importance in (("server", 5), ("process", 6)):
            yield Point("live", codec, "decode_stream", kind, 0, importance, limit_s=360)


def _state(codec: str, geometry: Geometry, settings: Settings) -> Iterator[Point]:
    if geometry.causal:
        for streams in settings.streams:
            for kind in ("in_place", "implicit", "gather_only"):
                yield Point("state", codec, "decode_stream", kind, streams, 9)


def _others(codec: str, geometry: Geometry, settings: Settings) -> Iterator[Point]:
    batches = [batch for batch in settings.batches if batch <= 256]  # noqa: PLR2004 - an engine's most rows
    for batch in batches if geometry.causal else ():
        for kind in ("onnxruntime", "tensorrt"):
            yield Point("others", codec, "decode_stream", kind, batch, 30, limit_s=240)


_PLANS: Mapping[str, Callable[[str, Geometry, Settings], Iterable[Point]]] = {
    "torch": _torch,
    "precision": _precision,
    "live": _live,
    "state": _state,
    "others": _others,
}
