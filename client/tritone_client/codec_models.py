"""The models of one codec: their facts, calls for whole inputs, and live streams on them.

The client knows only the codec's name; it reads everything else from the models' configurations.
"""

import secrets
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from tritone_client.errors import (
    AddressError,
    ServerRefusedError,
    ServerUnavailableError,
    UnknownCodecError,
)
from tritone_client.info import CodecInfo, StreamInfo
from tritone_client.inputs.checks import checked_codebooks, refuse_live_streams
from tritone_client.sansio import SansIO
from tritone_client.streams.chunking import Chunker, FrameChunker, WindowChunker
from tritone_client.streams.failover import FailoverSession, ReplaySize, Resume
from tritone_client.streams.live import AudioInput, LiveStream, StreamInput, TokenInput
from tritone_client.streams.stream_sessions import StatefulSession, StatelessSession, StreamSession
from tritone_client.transport.addresses import Address
from tritone_client.transport.interface import Arrays, Call, Connection, Transport

__all__ = [
    "DECODE",
    "ENCODE",
    "CodecModels",
    "Endpoints",
    "Role",
    "codebook_option",
    "codecs_of",
    "endpoints",
    "inputs_of",
]

OpenSession: TypeAlias = Callable[[Connection, bool], StreamSession]
"""Opens a session on a connection; the flag says that it resumes a stream of another session."""
Endpoints: TypeAlias = str | Path | Sequence[str]
"""Addresses of servers, or the folder of a repository whose models run in this process."""

_LONGEST_STEP_S = 2.0
"""A longer push is sent in several steps, so that other streams wait for one step and not for the push."""


@dataclass(frozen=True)
class Role:
    """Decoding or encoding: the names of its models and tensors.

    Inputs longer than ``longest_s`` are sent in pieces, which bounds the memory that one call takes.
    """

    name: str
    input: str
    output: str
    longest_s: float

    def steps_per_frame(self, tensor: str, info: CodecInfo) -> int:
        """Time steps of a tensor in one frame: samples of audio, or 1 for tokens."""
        return info.samples_per_frame if tensor == "audio" else 1

    def frames(self, data: NDArray[Any], info: CodecInfo) -> int:
        """Number of frames of an input, counting an incomplete last one."""
        return -(-int(data.shape[-1]) // self.steps_per_frame(self.input, info))

    def longest_frames(self, info: CodecInfo) -> int:
        """Most frames in one piece."""
        return _frames_in(self.longest_s, info)


# Beside its weights, nanocodec's encoder takes 424 MB for 16 s and 270 MB for 8 s. Shorter pieces repeat more
# context: two pieces of 8 s cost 14 % more decoding than one of 16 s.
DECODE = Role("decode", "tokens", "audio", longest_s=16.0)
ENCODE = Role("encode", "audio", "tokens", longest_s=8.0)


class CodecModels:
    """The models of one codec, on servers or in this process. Their facts are read once and kept.

    Args:
        name: of the codec.
        transports: to the places where its models run; the first that answers is used.
        resume: settings of failover; if None, streams fail over only if there are several transports.
    """

    def __init__(self, name: str, transports: Sequence[Transport], resume: Resume | None = None):
        self.name, self._transports = name, deque(transports)
        self._resume = resume or (Resume() if len(transports) > 1 else None)
        self._retry = resume
        self._turn = secrets.randbelow(1 << 16)  # otherwise every client would begin at the same server
        self._infos: dict[str, CodecInfo] = {}
        self._stream_infos: dict[str, StreamInfo | None] = {}

    def first_answer(self, ask: Callable[[Transport], Any]) -> SansIO[Any]:
        """Ask the servers in order until one answers; that server is asked first from then on.

        Raises:
            ServerUnavailableError: no server answered; the error is the last server's.
        """
        for transport in list(self._transports)[:-1]:
            try:
                return (yield lambda: ask(transport))  # noqa: B023
            except ServerUnavailableError:
                self._transports.rotate(-1)
        last = self._transports[0]
        return (yield lambda: ask(last))

    def results(self, calls: Sequence[Call], role: Role) -> SansIO[Any]:
        """The answers to calls of a role's model; with ``resume``, the calls are repeated until its deadline.

        Raises:
            ServerUnavailableError: no server answered.
        """
        info, begun = (yield from self.info(role)), time.monotonic()
        wait_s = self._retry.first_wait_s if self._retry else 0.0
        while True:
            try:
                return (
                    yield from self.first_answer(lambda each: each.results(calls, role.output, info.echoes))
                )
            except ServerUnavailableError:
                if self._retry is None or time.monotonic() + wait_s > begun + self._retry.deadline_s:
                    raise
            pause = wait_s
            yield lambda: self._transports[0].wait(pause)  # noqa: B023
            wait_s = min(2 * wait_s, self._retry.most_wait_s)

    def info(self, role: Role) -> SansIO[CodecInfo]:
        """Facts of the role's model; UnknownCodecError lists the codecs that the server has."""
        if role.name not in self._infos:
            model = f"{self.name}_{role.name}"
            try:
                parameters = yield from self.first_answer(lambda transport: transport.parameters(model))
            except ServerUnavailableError as error:
                raise (yield partial(self._transports[0].explained, error)) from error.__cause__
            except ServerRefusedError as error:
                known = codecs_of((yield from self.first_answer(lambda transport: transport.ready_models())))
                raise UnknownCodecError(self.name, self._transports[0].name, known) from error
            self._infos[role.name] = CodecInfo.from_parameters(self.name, model, parameters)
        return self._infos[role.name]

    def stream_info(self, role: Role) -> SansIO[StreamInfo | None]:
        """Limits of the role's stateful model; None if the codec has no such model."""
        if role.name not in self._stream_infos:
            model = f"{self.name}_{role.name}_stream"
            parameters: Mapping[str, str] | None = None
            if (yield from self.first_answer(lambda transport: transport.ready(model))):
                parameters = yield from self.first_answer(lambda transport: transport.parameters(model))
            info = None if parameters is None else StreamInfo.from_parameters(model, parameters)
            self._stream_infos[role.name] = info
        return self._stream_infos[role.name]

    def decode_stream(self) -> SansIO[LiveStream]:
        """A live stream from tokens to audio."""
        info = yield from self.info(DECODE)
        empty = np.zeros(info.audio_shape(0), np.float32)
        return (yield from self._open_stream(DECODE, TokenInput(info), empty, {}))

    def encode_stream(self, sample_rate_hz: int, num_codebooks: int | None) -> SansIO[LiveStream]:
        """A live stream from audio to tokens."""
        info = yield from self.info(ENCODE)
        refuse_live_streams(info)
        empty = np.zeros((checked_codebooks(num_codebooks, info), 0), np.int64)
        stream_input, options = AudioInput(info, sample_rate_hz), codebook_option(num_codebooks, info)
        return (yield from self._open_stream(ENCODE, stream_input, empty, options))

    def _open_stream(
        self, role: Role, stream_input: StreamInput, empty: NDArray[Any], options: Arrays
    ) -> SansIO[LiveStream]:
        info = yield from self.info(role)
        stream = yield from self.stream_info(role)
        steps, output_steps = (role.steps_per_frame(each, info) for each in (role.input, role.output))
        longest = role.longest_frames(info)
        chunker: Chunker
        if stream is not None:
            most = min(longest, stream.max_step_frames or longest)
            most_sent = min(most, _frames_in(_LONGEST_STEP_S, info))
            short = info.short_samples if role is DECODE else 0
            chunker = FrameChunker(steps, output_steps, most_sent, stream.late_steps, short)
            replay = ReplaySize(steps, self._replay_frames(info, stream), most, info.position_frames or 1)
        else:
            after = 0 if info.causal else info.lookaround_frames
            least = max(info.min_frames * steps, info.min_samples if role is ENCODE else 0)
            chunker = WindowChunker(steps, output_steps, longest, info.lookaround_frames, after, least)
            replay = ReplaySize(steps, 0, longest)
        session = self._session(
            partial(self._session_on, role=role, stream=stream, steps=steps, options=options), replay
        )
        return LiveStream(stream_input, chunker, session, empty)

    def _session(self, open_session: OpenSession, replay: ReplaySize) -> StreamSession:
        resume = self._resume
        if resume is None:
            return open_session(self._transports[0].connection(), False)
        self._turn += 1  # streams begin at the servers in turn
        servers = deque(self._transports)
        servers.rotate(-self._turn)
        return FailoverSession(
            servers,
            lambda server, resumed: open_session(server.connection(resume.answer_s), resumed),
            replay,
            resume,
        )

    def _session_on(
        self,
        connection: Connection,
        resumed: bool,
        role: Role,
        stream: StreamInfo | None,
        steps: int,
        options: Arrays,
    ) -> StreamSession:
        model, echoes = f"{self.name}_{role.name}", self._infos[role.name].echoes
        if stream is None:
            return StatelessSession(
                connection, model, role.output, lambda data: inputs_of(role, data, options), echoes
            )
        return StatefulSession(
            connection,
            f"{model}_stream",
            role.output,
            lambda data: {role.input: data[None], **options},
            stream,
            stream.end_frames * steps,
            resumed,
        )

    def _replay_frames(self, info: CodecInfo, stream: StreamInfo) -> int:
        """Frames that make a fresh stream continue exactly as the old one; fewer if ``resume`` says so."""
        enough = info.lookaround_frames if stream.replay_frames is None else stream.replay_frames
        if self._resume is None or self._resume.most_replay_s is None:
            return enough
        return min(enough, _frames_in(self._resume.most_replay_s, info))


def inputs_of(role: Role, data: NDArray[Any], options: Arrays) -> Arrays:
    """Inputs of a stateless model: one utterance, its length, and the options."""
    length = np.array([[data.shape[-1]]], dtype=np.int64)
    return {role.input: data[None], f"{role.input}_len": length, **options}


def codebook_option(num_codebooks: int | None, info: CodecInfo) -> Arrays:
    """The input ``num_codebooks`` [1, 1] of models that have a choice; nothing for the other models."""
    if num_codebooks is None or info.encoded_codebooks or info.min_codebooks == info.num_codebooks:
        return {}
    return {"num_codebooks": np.array([[num_codebooks]], dtype=np.int64)}


def _frames_in(seconds: float, info: CodecInfo) -> int:
    """Complete frames in a duration, at least one."""
    return max(1, int(seconds * info.frame_rate_hz))


def endpoints(url: Endpoints) -> list[str | Path]:
    """One or several addresses, or the folder, as a list.

    Raises:
        ValueError: the list of addresses is empty.
        AddressError: an address has a form that gRPC does not understand.
    """
    if isinstance(url, Path):
        return [url]
    urls = [url] if isinstance(url, str | bytes) or not isinstance(url, Iterable) else list(url)
    if not urls:
        raise ValueError("no server: give host and gRPC port of one at least")
    for each in urls:
        if not isinstance(each, str):
            raise AddressError(
                f"{each!r} is no server's address: give host:port as text, several of them as a list, or one "
                "Path, the folder of a model repository, alone"
            )
    return [Address.of(each).url for each in urls]


def codecs_of(models: Sequence[str]) -> list[str]:
    """Names of the codecs to which models belong: those with a model for decoding."""
    return sorted(name.removesuffix("_decode") for name in models if name.endswith("_decode"))
