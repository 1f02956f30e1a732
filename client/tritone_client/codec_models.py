"""What a server has for a codec, and how its models are called; the codec's name is all that is known."""

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
from tritone_client.inputs.checks import checked_codebooks
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
    "choice",
    "codecs_among",
    "endpoints",
    "whole",
]

Opened: TypeAlias = Callable[[Connection, bool], StreamSession]
"""What makes a session on a connection; whether it goes on with what was elsewhere before."""
Endpoints: TypeAlias = str | Path | Sequence[str]
"""Addresses of servers, or the folder of a repository whose models run in this process."""


_LONGEST_STEP_S = 2.0
"""Longer pushes go in several steps: the other streams of the server wait for one, not for all."""


@dataclass(frozen=True)
class Role:
    """One direction of a codec, by the names of its models and tensors.

    Inputs longer than ``longest_s`` go in pieces, which bounds the memory of the server.
    """

    name: str
    input: str
    output: str
    longest_s: float

    def steps(self, tensor: str, info: CodecInfo) -> int:
        """Time steps of a tensor in one frame."""
        return info.samples_per_frame if tensor == "audio" else 1

    def frames(self, data: NDArray[Any], info: CodecInfo) -> int:
        """How many frames an input is, the last one perhaps not full."""
        return -(-int(data.shape[-1]) // self.steps(self.input, info))

    def longest_frames(self, info: CodecInfo) -> int:
        """Frames of one piece at most."""
        return _frames_in(self.longest_s, info)


# nanocodec's encoder takes 424 MB beside its weights for 16 s, 270 MB for 8 s. Shorter pieces repeat more
# context: 16 s of tokens in two pieces of 8 s are 14 % more to decode.
DECODE = Role("decode", "tokens", "audio", longest_s=16.0)
ENCODE = Role("encode", "audio", "tokens", longest_s=8.0)


class CodecModels:
    """One codec of a server, or of several that serve the same; everything is asked once and remembered.

    Args:
        name: of the codec.
        transports: to its servers; the first that answers is asked.
        resume: how streams go on where a server fails; None: they do only where there are several.
    """

    def __init__(self, name: str, transports: Sequence[Transport], resume: Resume | None = None):
        self.name, self._transports = name, deque(transports)
        self._resume = resume or (Resume() if len(transports) > 1 else None)
        self._again = resume
        self._opened = secrets.randbelow(1 << 16)  # else every client would begin at the same server
        self._infos: dict[str, CodecInfo] = {}
        self._stream_infos: dict[str, StreamInfo | None] = {}

    def asked(self, question: Callable[[Transport], Any]) -> SansIO[Any]:
        """The answer of the first server that gives one, which is asked first from then on.

        Raises:
            ServerUnavailableError: of the last one, where none does.
        """
        for transport in list(self._transports)[:-1]:
            try:
                return (yield lambda: question(transport))  # noqa: B023
            except ServerUnavailableError:
                self._transports.rotate(-1)
        last = self._transports[0]
        return (yield lambda: question(last))

    def results(self, calls: Sequence[Call], role: Role) -> SansIO[Any]:
        """The answers to these calls of a role's model; with ``resume`` the servers are asked repeatedly.

        Raises:
            ServerUnavailableError: no server answered, or none within the deadline.
        """
        info, begun = (yield from self.info(role)), time.monotonic()
        wait_s = self._again.first_wait_s if self._again else 0.0
        while True:
            try:
                return (yield from self.asked(lambda each: each.results(calls, role.output, info.echoes)))
            except ServerUnavailableError:
                if self._again is None or time.monotonic() + wait_s > begun + self._again.deadline_s:
                    raise
            pause = wait_s
            yield lambda: self._transports[0].wait(pause)  # noqa: B023
            wait_s = min(2 * wait_s, self._again.most_wait_s)

    def info(self, role: Role) -> SansIO[CodecInfo]:
        """Of its model; UnknownCodecError lists what the server has instead."""
        if role.name not in self._infos:
            model = f"{self.name}_{role.name}"
            try:
                parameters = yield from self.asked(lambda transport: transport.parameters(model))
            except ServerUnavailableError as error:
                raise (yield partial(self._transports[0].explained, error)) from error.__cause__
            except ServerRefusedError as error:
                served = codecs_among((yield from self.asked(lambda transport: transport.ready_models())))
                raise UnknownCodecError(self.name, self._transports[0].name, served) from error
            self._infos[role.name] = CodecInfo.from_parameters(self.name, model, parameters)
        return self._infos[role.name]

    def stream_info(self, role: Role) -> SansIO[StreamInfo | None]:
        """Of the model that keeps streams, or None where the server has none."""
        if role.name not in self._stream_infos:
            model = f"{self.name}_{role.name}_stream"
            parameters: Mapping[str, str] | None = None
            if (yield from self.asked(lambda transport: transport.ready(model))):
                parameters = yield from self.asked(lambda transport: transport.parameters(model))
            found = None if parameters is None else StreamInfo.from_parameters(model, parameters)
            self._stream_infos[role.name] = found
        return self._stream_infos[role.name]

    def decode_stream(self) -> SansIO[LiveStream]:
        """A stream from tokens to audio."""
        info = yield from self.info(DECODE)
        return (yield from self._live(DECODE, TokenInput(info), np.zeros(0, np.float32), {}))

    def encode_stream(self, sample_rate_hz: int, num_codebooks: int | None) -> SansIO[LiveStream]:
        """A stream from audio to tokens."""
        info = yield from self.info(ENCODE)
        nothing = np.zeros((checked_codebooks(num_codebooks, info), 0), np.int64)
        stream_input = AudioInput(info, sample_rate_hz)
        return (yield from self._live(ENCODE, stream_input, nothing, choice(num_codebooks, info)))

    def _live(
        self, role: Role, stream_input: StreamInput, nothing: NDArray[Any], more: Arrays
    ) -> SansIO[LiveStream]:
        info = yield from self.info(role)
        stream = yield from self.stream_info(role)
        steps, longest = role.steps(role.input, info), role.longest_frames(info)
        chunker: Chunker
        if stream is not None:
            most = min(longest, stream.max_step_frames or longest)
            chunker = FrameChunker(steps, min(most, _frames_in(_LONGEST_STEP_S, info)))
            past = ReplaySize(steps, self._replayed(info, stream), most)
        else:
            after, least = (
                (0 if info.causal else info.lookaround_frames),
                max(info.min_frames * steps, info.min_samples if role is ENCODE else 0),
            )
            chunker = WindowChunker(steps, longest, info.lookaround_frames, after, least)
            past = ReplaySize(steps, 0, longest)
        session = self._stream_session(
            partial(self._carried, role=role, stream=stream, steps=steps, more=more), past
        )
        return LiveStream(stream_input, chunker, session, role.steps(role.output, info), nothing)

    def _stream_session(self, opened: Opened, past: ReplaySize) -> StreamSession:
        resume = self._resume
        if resume is None:
            return opened(self._transports[0].connection(), False)
        self._opened += 1  # streams begin at the servers in turn
        servers = deque(self._transports)
        servers.rotate(-self._opened)
        return FailoverSession(
            servers,
            lambda server, resumed: opened(server.connection(resume.answer_s), resumed),
            past,
            resume,
        )

    def _carried(
        self,
        connection: Connection,
        resumed: bool,
        role: Role,
        stream: StreamInfo | None,
        steps: int,
        more: Arrays,
    ) -> StreamSession:
        model, echoes = f"{self.name}_{role.name}", self._infos[role.name].echoes
        if stream is None:
            return StatelessSession(
                connection, model, role.output, lambda data: whole(role, data, more), echoes
            )
        return StatefulSession(
            connection,
            f"{model}_stream",
            role.output,
            lambda data: {role.input: data[None], **more},
            stream,
            stream.end_frames * steps,
            resumed,
        )

    def _replayed(self, info: CodecInfo, stream: StreamInfo) -> int:
        """Frames that a fresh stream must see to go on as if it had seen all, or as many as are allowed."""
        field = info.lookaround_frames if stream.replay_frames is None else stream.replay_frames
        if self._resume is None or self._resume.most_replay_s is None:
            return field
        return min(field, _frames_in(self._resume.most_replay_s, info))


def whole(role: Role, data: NDArray[Any], more: Arrays) -> Arrays:
    """Inputs of a model without memory."""
    length = np.array([[data.shape[-1]]], dtype=np.int64)
    return {role.input: data[None], f"{role.input}_len": length, **more}


def choice(num_codebooks: int | None, info: CodecInfo) -> Arrays:
    """The input that chooses how many codebooks; models without a choice do not have it."""
    if num_codebooks is None or info.encoded_codebooks or info.min_codebooks == info.num_codebooks:
        return {}
    return {"num_codebooks": np.array([[num_codebooks]], dtype=np.int64)}


def _frames_in(seconds: float, info: CodecInfo) -> int:
    """Full frames, at least one."""
    return max(1, int(seconds * info.frame_rate_hz))


def endpoints(url: Endpoints) -> list[str | Path]:
    """One or several, as a list.

    Raises:
        ValueError: there is none.
        AddressError: one is of no form that gRPC understands.
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


def codecs_among(models: Sequence[str]) -> list[str]:
    """Codecs, by the models of a server."""
    return sorted(name.removesuffix("_decode") for name in models if name.endswith("_decode"))
