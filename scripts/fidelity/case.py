"""What every comparison rests on: a served codec, what goes into it, and how long it goes on."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from scripts.common.report import Row
from scripts.common.rounding import limit_of
from tritone_client import Codec, Stream
from tritone_client.inputs.audio import read_audio, resampled
from tritone_client.transport.grpc_transport import Transport
from tritone_runtime.fidelity import differing_share
from tritone_server.launcher import TritonServer
from tritone_server.stream_check import Comparison, Limit, compared

__all__ = ["FULL", "QUICK", "Case", "Direction", "Durations", "decibels", "directions"]

Array = NDArray[Any]

_SPEECH = Path("samples/speech.wav")


@dataclass(frozen=True)
class Durations:
    """Seconds of sound or tokens; ``sentences`` is how many each voice speaks.

    A long stream lasts ``reaches`` times as long as the model looks back, ``hour`` at most.
    """

    reference: float
    exact: float
    pieces: float
    stream: float
    isolation: float
    hour: float
    reaches: float
    sentences: int


FULL = Durations(
    reference=30, exact=10, pieces=40, stream=60, isolation=4, hour=3600, reaches=150, sentences=10
)
QUICK = Durations(reference=6, exact=3, pieces=20, stream=8, isolation=1.5, hour=240, reaches=90, sentences=2)


@dataclass(frozen=True)
class Case:
    """One codec of a running server; ``raw`` asks its models without the client's cutting."""

    codec: Codec
    raw: Transport
    server: TritonServer
    durations: Durations

    @property
    def name(self) -> str:
        """Of the codec."""
        return self.codec.name

    @cached_property
    def speech(self) -> NDArray[np.float32]:
        """The repository's sample at the codec's rate."""
        audio, rate_hz = read_audio(_SPEECH)
        return resampled(audio, rate_hz, self.codec.info.sample_rate_hz)

    @cached_property
    def tokens(self) -> NDArray[np.int64]:
        """Of that sample."""
        return self.codec.encode(self.speech, self.codec.info.sample_rate_hz)

    @cached_property
    def limit(self) -> Limit:
        """Of the sound of these tokens: what rounding leaves of the authors' own, and a margin."""
        return limit_of(self.codec, self.tokens)

    def audio(self, seconds: float) -> NDArray[np.float32]:
        """The sample over and over."""
        return np.resize(self.speech, round(seconds * self.codec.info.sample_rate_hz))

    def frames(self, seconds: float) -> int:
        """How many there are in so long."""
        return round(seconds * self.codec.info.frame_rate_hz)

    def asked(self, role: str, given: str, data: Array, output: str) -> Array:
        """The answer of the model without memory to one request with everything."""
        length = np.array([[data.shape[-1]]], dtype=np.int64)
        call = f"{self.name}_{role}", {given: data[None], f"{given}_len": length}
        (answer,) = self.raw.results([call], output)
        first: Array = answer[0]
        return first


class Direction:
    """One way through a codec: the same checks for sound and for tokens.

    ``kept`` says whether the server keeps its streams, ``step`` is how many time steps of the input
    make a frame, ``made`` how many of the output, and ``back`` how many frames the model looks back.
    """

    def __init__(self, case: Case, role: Literal["decode", "encode"]):
        self.case, self.role = case, role
        self.given, self.output = ("tokens", "audio") if role == "decode" else ("audio", "tokens")
        hop, parameters = case.codec.info.samples_per_frame, case.raw.parameters(f"{case.name}_{role}")
        self.step, self.made = (1, hop) if role == "decode" else (hop, 1)
        self.back = int(parameters["lookaround_frames"])
        self.kept = case.raw.ready(f"{case.name}_{role}_stream")

    @property
    def unit(self) -> int:
        """Frames in the smallest push: windows around single frames would cost too much."""
        return 1 if self.kept else 2 * self.back + 1

    def piece(self, start: int, stop: int) -> Array:
        """Frames of the input, which is the sample over and over."""
        source: Array = self.case.tokens if self.role == "decode" else self.case.speech
        return np.take(source, range(start * self.step, stop * self.step), axis=-1, mode="wrap")

    def stream(self) -> Stream[Any]:
        """A fresh one."""
        codec = self.case.codec
        opened: Stream[Any] = (
            codec.decode_stream() if self.role == "decode" else codec.encode_stream(codec.info.sample_rate_hz)
        )
        return opened

    def whole(self, data: Array) -> Array:
        """The output of one request with everything."""
        return self.case.asked(self.role, self.given, data, self.output)

    def check(self, name: str) -> str:
        """Name of a row of this direction."""
        return name if self.role == "decode" else f"encode_{name}"

    def row(self, check: str, pairs: list[tuple[Array, Array]], how: str, proven: bool = True) -> Row:
        """The worst of (reference, ours); short unless ``proven``, whatever the figure."""
        name, case = self.check(check), self.case
        sizes = {(theirs.shape[-1], ours.shape[-1]) for theirs, ours in pairs}
        lost = [f"{ours} time steps instead of {theirs}" for theirs, ours in sizes if ours != theirs]
        if lost:
            return Row(case.name, name, 0.0, "dB", "every step", False, f"{lost[0]}; {how}")
        if self.role == "decode":
            return self._sound_row(name, pairs, how, proven)
        share = max(differing_share(*pair) for pair in pairs)
        return Row(case.name, name, share, "share", "0", share == 0 and proven, how)

    def _sound_row(self, name: str, pairs: list[tuple[Array, Array]], how: str, proven: bool) -> Row:
        """The worst sound, and what is wrong with the first that is."""
        wholes = {f"stream {number}": theirs for number, (theirs, _) in enumerate(pairs)}
        found: list[Comparison] = []
        for number, (theirs, ours) in enumerate(pairs):
            others = {stream: whole for stream, whole in wholes.items() if stream != f"stream {number}"}
            found.append(compared(theirs, ours, self.made, self.case.limit, others))
        wrong = next((f"; {each}" for each in found if not each.ok), "")
        worst = min(each.db for each in found)
        return decibels(self.case, name, worst, how + wrong, proven and not wrong)


def directions(case: Case) -> tuple[Direction, Direction]:
    """Both ways."""
    return Direction(case, "decode"), Direction(case, "encode")


def decibels(case: Case, check: str, value: float, how: str, proven: bool = True) -> Row:
    """A row of a codec's sound that must reach its limit."""
    least = case.limit.whole_db
    return Row(case.name, check, value, "dB", f">= {least:.1f}", value >= least and proven, how)
