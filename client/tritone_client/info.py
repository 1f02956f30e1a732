"""Facts of a codec and of its live streams, as the configurations of its models state them."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from math import log2

from tritone_client.errors import ServerRefusedError

__all__ = ["CodecInfo", "StreamInfo"]


@dataclass(frozen=True)
class CodecInfo:
    """Facts of one model of a codec, read from the ``parameters`` of its configuration.

    Attributes:
        name: of the codec.
        sample_rate_hz: of its audio: of decoded audio, unless the model encodes.
        samples_per_frame: samples of each channel in a frame (the hop).
        num_codebooks: most codebooks that tokens may have.
        codebook_size: entries of a codebook; tokens are 0..codebook_size - 1.
        min_frames: fewest frames of tokens that the model takes.
        min_samples: fewest samples of audio that can be encoded.
        lookaround_frames: how many frames the model looks to either side of a frame.
        causal: whether it looks to the past only.
        checkpoint_sha256: hash of the checkpoint it was built from; empty if the configuration has none.
        min_codebooks: fewest codebooks that tokens may have.
        default_codebooks: how many codebooks encoding gives unless the caller chooses.
        encoded_codebooks: unless 0, the model always encodes into this many codebooks, and the client keeps
            the first ones.
        echoes: whether the model returns each request's nonce, by which the client recognizes the answer.
        num_channels: channels of its audio, C; audio is [S] for one channel and [C, S] for more.
        short_samples: samples that decoded audio lacks at its end: T frames give
            T * samples_per_frame - short_samples.
        codebook_rows: rows of tokens that each codebook has, coarse first, where codebooks run at different
            rates; the counts of codebooks are then counts of rows. Empty where each codebook has one row.
        encode_sample_rate_hz: of audio to encode; for most codecs the same as ``sample_rate_hz``.
        encode_samples_per_frame: samples of each channel in a frame of audio to encode.
        whole_utterances_s: unless 0, the encoder needs all of an utterance at once, which may last so many
            seconds; then there are no live streams of it.
        position_frames: unless 0, the audio of a frame depends on its number in the signal modulo this.
        int16_output: whether the model can give its audio as INT16 too.
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
    num_channels: int = 1
    short_samples: int = 0
    codebook_rows: tuple[int, ...] = ()
    whole_utterances_s: int = 0
    encode_sample_rate_hz: int = 0
    encode_samples_per_frame: int = 0
    position_frames: int = 0
    int16_output: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "encode_sample_rate_hz", self.encode_sample_rate_hz or self.sample_rate_hz)
        hop = self.encode_samples_per_frame or self.samples_per_frame
        object.__setattr__(self, "encode_samples_per_frame", hop)

    @classmethod
    def from_parameters(cls, name: str, model: str, parameters: Mapping[str, str]) -> "CodecInfo":
        """Parse a configuration's parameters, which are strings; ServerRefusedError names a missing one."""
        with _reports_missing(model):
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
                num_channels=int(parameters.get("num_channels", 1)),
                short_samples=int(parameters.get("short_samples", 0)),
                whole_utterances_s=int(parameters.get("whole_utterances_s", 0)),
                codebook_rows=tuple(map(int, filter(None, parameters.get("codebook_rows", "").split(",")))),
                encode_sample_rate_hz=int(parameters.get("encode_sample_rate", 0)),
                encode_samples_per_frame=int(parameters.get("encode_samples_per_frame", 0)),
                position_frames=int(parameters.get("position_frames", 0)),
                int16_output=parameters.get("int16_output") == "true",
            )

    def audio_shape(self, samples: int) -> tuple[int, ...]:
        """Shape of audio: [samples], or [C, samples] for more than one channel."""
        return (samples,) if self.num_channels == 1 else (self.num_channels, samples)

    @property
    def frame_rate_hz(self) -> float:
        """Frames per second."""
        return self.sample_rate_hz / self.samples_per_frame

    @property
    def bitrate_bps(self) -> float:
        """Bits per second at the default number of codebooks, if all entries are equally frequent."""
        return self.default_codebooks * log2(self.codebook_size) * self.frame_rate_hz


@dataclass(frozen=True)
class StreamInfo:
    """Limits of the live streams of one model, read from the ``parameters`` of its configuration.

    Attributes:
        max_streams: most live streams at a time; ``TRITONE_MAX_STREAMS`` may lower the limit in this process.
        state_bytes: memory that the state of one stream takes.
        idle_limit_ms: a stream ends if no request comes for this long.
        end_frames: frames of the request that ends a stream, whose answer the client discards.
        max_step_frames: most frames in one request; 0 for no limit.
        replay_frames: how many of the newest frames must be replayed to a fresh stream, so that it continues
            exactly as the old one; None if the configuration does not say.
        echoes, int16_output: as in :class:`CodecInfo`.
        late_steps: samples of audio, or frames of tokens, by which the answers of a model that looks ahead
            are late.
    """

    max_streams: int
    state_bytes: int
    idle_limit_ms: int
    end_frames: int = 0
    max_step_frames: int = 0
    replay_frames: int | None = None
    echoes: bool = False
    late_steps: int = 0
    int16_output: bool = False

    @classmethod
    def from_parameters(cls, model: str, parameters: Mapping[str, str]) -> "StreamInfo":
        """Parse a configuration's parameters, which are strings; ServerRefusedError names a missing one."""
        with _reports_missing(model):
            return cls(
                max_streams=int(parameters["max_streams"]),
                state_bytes=int(parameters["state_bytes"]),
                idle_limit_ms=int(parameters["idle_limit_ms"]),
                end_frames=int(parameters.get("end_frames", 0)),
                max_step_frames=int(parameters.get("max_step_frames", 0)),
                replay_frames=int(parameters["replay_frames"]) if "replay_frames" in parameters else None,
                echoes=parameters.get("echoes") == "true",
                late_steps=int(parameters.get("delay_samples", parameters.get("delay_frames", 0))),
                int16_output=parameters.get("int16_output") == "true",
            )


@contextmanager
def _reports_missing(model: str) -> Iterator[None]:
    try:
        yield
    except KeyError as error:
        raise ServerRefusedError(
            f"model {model} has no parameter {error}; it was not built by tritone-build"
        ) from error
