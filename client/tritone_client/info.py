"""What a server says about a codec it serves."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import log2

from tritone_client.errors import ServerRefusedError

__all__ = ["CodecInfo"]


@dataclass(frozen=True)
class CodecInfo:
    """Facts of one model of a codec, read from the ``parameters`` of its configuration.

    ``lookaround_frames`` is how far the model looks to either side of a frame; a ``causal`` one
    looks to the past only. ``min_frames`` and ``min_samples`` are the least it takes.
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

    @classmethod
    def from_parameters(cls, name: str, model: str, parameters: Mapping[str, str]) -> "CodecInfo":
        """Read the strings that Triton keeps; ServerRefusedError names one that is missing."""
        try:
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
                checkpoint_sha256=parameters["checkpoint_sha256"],
            )
        except KeyError as error:
            raise ServerRefusedError(
                f"model {model} has no parameter {error}; it was not built by tritone-build"
            ) from error

    @property
    def frame_rate_hz(self) -> float:
        """Frames per second."""
        return self.sample_rate_hz / self.samples_per_frame

    @property
    def bitrate_bps(self) -> float:
        """Bits per second of evenly used codebooks, which is the rate that codecs advertise."""
        return self.num_codebooks * log2(self.codebook_size) * self.frame_rate_hz
