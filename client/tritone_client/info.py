"""What a server says about a codec it serves."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from math import log2

from tritone_client.errors import ServerRefusedError

__all__ = ["CodecInfo", "StreamInfo"]


@dataclass(frozen=True)
class CodecInfo:
    """Facts of one model of a codec, read from the ``parameters`` of its configuration.

    ``lookaround_frames`` is how far the model looks to either side of a frame; a ``causal`` one
    looks to the past only. ``min_frames`` and ``min_samples`` are the least it takes. Tokens have
    ``min_codebooks`` to ``num_codebooks`` rows; encoding gives ``default_codebooks`` unless told. A model
    with ``encoded_codebooks``, unless 0, cannot be told and always gives so many; the first are kept. One
    that ``echoes`` returns the nonce of each request, so that no other answer is taken for it.
    """

    name: str
    sample_rate_hz: int
    samples_per_frame: int
    num_codebooks: int
    codebook_size: int
    min_frames: int
    min_samples: int
    lookaround_frames: int
    causal: bool
    checkpoint_sha256: str
    min_codebooks: int
    default_codebooks: int
    encoded_codebooks: int = 0
    echoes: bool = False

    @classmethod
    def from_parameters(cls, name: str, model: str, parameters: Mapping[str, str]) -> "CodecInfo":
        """Read the strings that Triton keeps; ServerRefusedError names one that is missing."""
        with _missing_is_told(model):
            return cls(
                name=name,
                sample_rate_hz=int(parameters["sample_rate"]),
                samples_per_frame=int(parameters["samples_per_frame"]),
                num_codebooks=int(parameters["num_codebooks"]),
                codebook_size=int(parameters["codebook_size"]),
                min_frames=int(parameters["min_frames"]),
                min_samples=int(parameters["min_samples"]),
                lookaround_frames=int(parameters["lookaround_frames"]),
                causal=parameters["causal"] == "true",
                checkpoint_sha256=parameters.get("checkpoint_sha256", ""),
                min_codebooks=int(parameters.get("min_codebooks", parameters["num_codebooks"])),
                default_codebooks=int(parameters.get("default_codebooks", parameters["num_codebooks"])),
                encoded_codebooks=int(parameters.get("encoded_codebooks", 0)),
                echoes=parameters.get("echoes") == "true",
            )

    @property
    def frame_rate_hz(self) -> float:
        """Frames per second."""
        return self.sample_rate_hz / self.samples_per_frame

    @property
    def bitrate_bps(self) -> float:
        """Bits per second of evenly used codebooks, as many as encoding gives by default."""
        return self.default_codebooks * log2(self.codebook_size) * self.frame_rate_hz


@dataclass(frozen=True)
class StreamInfo:
    """What a server says about the live streams of one model.

    It takes ``max_streams`` at a time, each of which costs it ``state_bytes``, and ends one that was
    silent for ``idle_limit_ms``. A stream ends with a request of ``end_frames``, whose answer nobody hears.
    A request has ``max_step_frames`` at most, unless 0. After the newest ``replay_frames`` a fresh stream
    goes on as this one would; None where the server does not say. ``echoes`` as in :class:`CodecInfo`.
    """

    max_streams: int
    state_bytes: int
    idle_limit_ms: int
    end_frames: int = 0
    max_step_frames: int = 0
    replay_frames: int | None = None
    echoes: bool = False

    @classmethod
    def from_parameters(cls, model: str, parameters: Mapping[str, str]) -> "StreamInfo":
        """Read the strings that Triton keeps; ServerRefusedError names one that is missing."""
        with _missing_is_told(model):
            return cls(
                max_streams=int(parameters["max_streams"]),
                state_bytes=int(parameters["state_bytes"]),
                idle_limit_ms=int(parameters["idle_limit_ms"]),
                end_frames=int(parameters.get("end_frames", 0)),
                max_step_frames=int(parameters.get("max_step_frames", 0)),
                replay_frames=int(parameters["replay_frames"]) if "replay_frames" in parameters else None,
                echoes=parameters.get("echoes") == "true",
            )


@contextmanager
def _missing_is_told(model: str) -> Iterator[None]:
    try:
        yield
    except KeyError as error:
        raise ServerRefusedError(
            f"model {model} has no parameter {error}; it was not built by tritone-build"
        ) from error
