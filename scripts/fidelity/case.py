"""The inputs of every comparison: a served codec, speech, and durations."""

from dataclasses import dataclass, replace
from functools import cached_property
from math import floor
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from scripts.common.report import Row
from scripts.common.rounding import limit_of
from scripts.common.speech_inputs import repeated_audio, speech_of
from tritone_client import Codec, Stream
from tritone_client.transport.grpc_transport import Transport
from tritone_runtime.fidelity import differing_share
from tritone_server.launcher import TritonServer
from tritone_server.stream_check import Comparison, Limit, compared

__all__ = ["FULL", "QUICK", "Case", "Direction", "Durations", "decibels", "directions"]

Array = NDArray[Any]


@dataclass(frozen=True)
class Durations:
    """Seconds of audio or tokens in each comparison.

    Attributes:
        reference: against the authors' implementation.
        exact: against FP64.
        pieces: of input that the client cuts into several requests.
        stream: of a stream in differently sized pushes.
        isolation: of streams that run together.
        long_stream_max: most seconds of a long stream.
        long_stream_fields: length of a long stream, in receptive fields of the model.
        sentences: number of sentences that each voice speaks.
    """

    reference: float
    exact: float
    pieces: float
    stream: float
    isolation: float
    long_stream_max: float
    long_stream_fields: float
    sentences: int

    def within(self, longest_call_s: float) -> "Durations":
        """The same for a codec of which one request can hold so many seconds."""
        most = floor(longest_call_s - 0.5)  # an encoder completes the last frame
        return replace(
            self,
            reference=min(self.reference, most),
            pieces=min(self.pieces, most),
            stream=min(self.stream, most),
        )


FULL = Durations(
    reference=30,
    exact=10,
    pieces=40,
    stream=60,
    isolation=4,
    long_stream_max=3600,
    long_stream_fields=150,
    sentences=10,
)
QUICK = Durations(
    reference=6,
    exact=3,
    pieces=20,
    stream=8,
    isolation=1.5,
    long_stream_max=240,
    long_stream_fields=90,
    sentences=2,
)


@dataclass(frozen=True)
class Case:
    """One codec of a running server.

    Attributes:
        codec: our client.
        raw: transport that sends a request in one piece, however long it is.
        server: that serves the codec.
        durations: of the comparisons.
    """

    codec: Codec
    raw: Transport
    server: TritonServer
    durations: Durations

    @property
    def name(self) -> str:
        """Name of the codec."""
        return self.codec.name

    @cached_property
    def speech(self) -> NDArray[np.float32]:
        """The repository's speech sample at the encoder's sample rate."""
        return speech_of(self.codec)

    @cached_property
    def tokens(self) -> NDArray[np.int64]:
        """The tokens of the speech sample."""
        return self.codec.encode(self.speech, self.codec.info.encode_sample_rate_hz)

    @cached_property
    def limit(self) -> Limit:
        """The distance that rounding allows for the audio of these tokens."""
        return limit_of(self.codec, self.tokens)

    def audio(self, seconds: float) -> NDArray[np.float32]:
        """The speech sample, repeated or cut to this length."""
        return repeated_audio(self.speech, round(seconds * self.codec.info.encode_sample_rate_hz))

    def frames(self, seconds: float) -> int:
        """The number of frames in this time."""
        return round(seconds * self.codec.info.frame_rate_hz)

    def request(self, role: str, input_name: str, data: Array, output_name: str) -> Array:
        """The stateless model's answer to a single request with all of ``data``."""
        length = np.array([[data.shape[-1]]], dtype=np.int64)
        call = f"{self.name}_{role}", {input_name: data[None], f"{input_name}_len": length}
        (answer,) = self.raw.results([call], output_name)
        first: Array = answer[0]
        return first


class Direction:
    """Decoding or encoding, so that the same checks serve audio and tokens.

    Attributes:
        stateful: whether the server has a stateful streaming model for it.
        input_hop: time steps of the input per frame.
        output_hop: time steps of the output per frame.
        lookback_frames: how many earlier frames the model sees.
    """

    def __init__(self, case: Case, role: Literal["decode", "encode"]):
        self.case, self.role = case, role
        self.input_name, self.output_name = ("tokens", "audio") if role == "decode" else ("audio", "tokens")
        parameters = case.raw.parameters(f"{case.name}_{role}")
        hop = int(parameters["samples_per_frame"])
        self.input_hop, self.output_hop = (1, hop) if role == "decode" else (hop, 1)
        self.lookback_frames = int(parameters["lookaround_frames"])
        self.stateful = case.raw.ready(f"{case.name}_{role}_stream")

    @property
    def unit(self) -> int:
        """Frames in the smallest push; without a stateful model each push costs a whole window."""
        return 1 if self.stateful else 2 * self.lookback_frames + 1

    def input_frames(self, start: int, stop: int) -> Array:
        """Frames ``start`` to ``stop`` of the input, the speech sample repeated endlessly."""
        source: Array = self.case.tokens if self.role == "decode" else self.case.speech
        return np.take(source, range(start * self.input_hop, stop * self.input_hop), axis=-1, mode="wrap")

    def stream(self) -> Stream[Any]:
        """Open a new stream."""
        codec = self.case.codec
        opened: Stream[Any] = (
            codec.decode_stream()
            if self.role == "decode"
            else codec.encode_stream(codec.info.encode_sample_rate_hz)
        )
        return opened

    def offline(self, data: Array) -> Array:
        """The output for all of ``data`` in a single request."""
        return self.case.request(self.role, self.input_name, data, self.output_name)

    def check_name(self, name: str) -> str:
        """Name of this direction's row for a check."""
        return name if self.role == "decode" else f"encode_{name}"

    def row(self, check: str, pairs: list[tuple[Array, Array]], how: str, proven: bool = True) -> Row:
        """A row for the worst of several (reference, ours) pairs.

        The row fails unless ``proven``, even if the figure is good: for checks whose conditions may not have
        been met.
        """
        name, case = self.check_name(check), self.case
        sizes = {(theirs.shape[-1], ours.shape[-1]) for theirs, ours in pairs}
        lost = [f"{ours} time steps instead of {theirs}" for theirs, ours in sizes if ours != theirs]
        if lost:
            return Row(case.name, name, 0.0, "dB", "every step", False, f"{lost[0]}; {how}")
        if self.role == "decode":
            return self._audio_row(name, pairs, how, proven)
        share = max(differing_share(*pair) for pair in pairs)
        return Row(case.name, name, share, "share", "0", share == 0 and proven, how)

    def _audio_row(self, name: str, pairs: list[tuple[Array, Array]], how: str, proven: bool) -> Row:
        """A row for the worst audio, with a description of the first pair that fails."""
        wholes = {f"stream {number}": theirs for number, (theirs, _) in enumerate(pairs)}
        comparisons: list[Comparison] = []
        for number, (theirs, ours) in enumerate(pairs):
            others = {stream: whole for stream, whole in wholes.items() if stream != f"stream {number}"}
            comparisons.append(compared(theirs, ours, self.output_hop, self.case.limit, others))
        wrong = next((f"; {each}" for each in comparisons if not each.ok), "")
        worst = min(each.db for each in comparisons)
        return decibels(self.case, name, worst, how + wrong, proven and not wrong)


def directions(case: Case) -> tuple[Direction, Direction]:
    """Both directions."""
    return Direction(case, "decode"), Direction(case, "encode")


def decibels(case: Case, check: str, value: float, how: str, proven: bool = True) -> Row:
    """A row for audio whose distance must reach the case's limit; it fails unless ``proven``."""
    least = case.limit.whole_db
    return Row(case.name, check, value, "dB", f">= {least:.1f}", value >= least and proven, how)
