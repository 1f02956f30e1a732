"""Opens live streams on the models of a codec."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias

from numpy.typing import NDArray

from tritone_client.codec_models import (
    DECODE,
    ENCODE,
    CodecModels,
    Role,
    codebook_option,
    frames_in,
    inputs_of,
)
from tritone_client.formats.output import AS_DECODED, AudioFormat, AudioOutput, TokenOutput
from tritone_client.info import CodecInfo, StreamInfo
from tritone_client.inputs.checks import checked_codebooks, refuse_live_streams
from tritone_client.sansio import SansIO
from tritone_client.streams.chunking import Chunker, FrameChunker, WindowChunker
from tritone_client.streams.failover import FailoverSession, ReplaySize
from tritone_client.streams.live import AudioInput, LiveStream, TokenInput
from tritone_client.streams.stream_sessions import StatefulSession, StatelessSession, StreamSession
from tritone_client.transport.interface import Arrays, Connection

__all__ = ["decode_stream", "encode_stream"]

OpenSession: TypeAlias = Callable[[Connection, bool], StreamSession]
"""Opens a session on a connection; the flag says that it resumes a stream of another session."""

_LONGEST_STEP_S, _LONGEST_PAST_S = 2.0, 10.0
"""A longer push is sent in several steps, so that other streams wait for one step and not for the push. A
prefix or a replay is sent in larger ones; servers take at most 10 s."""


def decode_stream(
    models: CodecModels, prefix: Any = None, wanted: AudioFormat = AS_DECODED
) -> SansIO[LiveStream]:
    """A live stream from tokens to audio, behind the tokens ``prefix``, whose sound is left out."""
    info = yield from models.info(DECODE)
    stream_input = TokenInput(info)
    frames = None if prefix is None else stream_input.prefix(prefix)
    plan = yield from _plan(models, DECODE)
    output, chunker = AudioOutput(info, wanted, plan.facts.int16_output), plan.chunker()
    before = [] if frames is None else chunker.prime(plan.newest(frames), plan.longest)
    session = _session(models, plan, output.wire, {})
    return LiveStream(stream_input, chunker, session, output, 1000 * (plan.delay_s + output.delay_s), before)


def encode_stream(
    models: CodecModels, sample_rate_hz: int, num_codebooks: int | None, dtype: str = "float32"
) -> SansIO[LiveStream]:
    """A live stream from audio to tokens."""
    info = yield from models.info(ENCODE)
    refuse_live_streams(info)
    output = TokenOutput(checked_codebooks(num_codebooks, info))
    stream_input = AudioInput(info, sample_rate_hz, dtype)
    plan = yield from _plan(models, ENCODE)
    session = _session(models, plan, output.wire, codebook_option(num_codebooks, info))
    delay_ms = 1000 * (stream_input.delay_s + plan.delay_s)
    return LiveStream(stream_input, plan.chunker(), session, output, delay_ms)


@dataclass(frozen=True)
class _Plan:
    """How a role's data is cut into requests; ``stream`` is None if the role has a stateless model only."""

    role: Role
    info: CodecInfo
    stream: StreamInfo | None

    @property
    def hop(self) -> int:
        """Time steps of the input in one frame."""
        return self.role.steps_per_frame(self.role.input, self.info)

    @property
    def facts(self) -> CodecInfo | StreamInfo:
        """Those of the model that is used."""
        return self.info if self.stream is None else self.stream

    @property
    def delay_s(self) -> float:
        """By how much the model's answers are late."""
        info, steps = self.info, self.role.steps_per_frame(self.role.output, self.info)
        after = 0 if info.causal else info.lookaround_frames
        late_frames = after if self.stream is None else self.stream.late_steps / steps
        return late_frames / info.frame_rate_hz

    @property
    def longest(self) -> int:
        """Most frames in one request."""
        longest = self.role.longest_frames(self.info)
        if self.stream is None:
            return longest
        longest = min(longest, frames_in(_LONGEST_PAST_S, self.info))
        return min(longest, self.stream.max_step_frames or longest)

    @property
    def enough(self) -> int:
        """Frames of the past that make a fresh stream continue exactly as the old one."""
        if self.stream is None:
            return 0
        stated = self.stream.replay_frames
        return self.info.lookaround_frames if stated is None else stated

    @property
    def unit(self) -> int:
        """Frames of the signal after which a fresh stream may begin in place of another."""
        return self.info.position_frames or 1

    def newest(self, data: NDArray[Any]) -> NDArray[Any]:
        """The part of a past that a live stream's model still sees; all of it for a stateless model."""
        if self.stream is None:
            return data
        first = max(0, data.shape[-1] - self.enough * self.hop)
        return data[..., first - first % (self.unit * self.hop) :]

    def chunker(self) -> Chunker:
        """The chunker of a new stream."""
        role, info, stream = self.role, self.info, self.stream
        output_hop = role.steps_per_frame(role.output, info)
        if stream is not None:
            sent = min(self.longest, frames_in(_LONGEST_STEP_S, info))
            short = info.short_samples if role is DECODE else 0
            return FrameChunker(self.hop, output_hop, sent, stream.late_steps, short)
        after = 0 if info.causal else info.lookaround_frames
        least = max(info.min_frames * self.hop, info.min_samples if role is ENCODE else 0)
        return WindowChunker(self.hop, output_hop, self.longest, info.lookaround_frames, after, least)

    def session(
        self, model: str, output: str, options: Arrays, connection: Connection, resumed: bool
    ) -> StreamSession:
        """A session on a connection, for one output; the flag says that it resumes another session."""
        role = self.role
        if self.stream is None:
            return StatelessSession(
                connection,
                model,
                output,
                lambda data: inputs_of(role, data, options),
                self.info.echoes,
            )
        return StatefulSession(
            connection,
            f"{model}_stream",
            output,
            lambda data: {role.input: data[None], **options},
            self.stream,
            self.stream.end_frames * self.hop,
            resumed,
        )


def _plan(models: CodecModels, role: Role) -> SansIO[_Plan]:
    info = yield from models.info(role)
    return _Plan(role, info, (yield from models.stream_info(role)))


def _session(models: CodecModels, plan: _Plan, output: str, options: Arrays) -> StreamSession:
    model = f"{models.name}_{plan.role.name}"
    open_session: OpenSession = partial(plan.session, model, output, options)
    resume = models.resume
    if resume is None:
        return open_session(models.first_transport.connection(), False)
    frames = plan.enough
    if resume.most_replay_s is not None:
        frames = min(frames, frames_in(resume.most_replay_s, plan.info))
    return FailoverSession(
        models.transports_in_turn(),
        lambda server, resumed: open_session(server.connection(resume.answer_s), resumed),
        ReplaySize(plan.hop, frames, plan.longest, plan.unit),
        resume,
    )
