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
from tritone_client.sansio import SansIO
from tritone_client.streams.failover import Resume
from tritone_client.transport.addresses import Address
from tritone_client.transport.interface import Arrays, Call, Transport

__all__ = [
    "DECODE",
    "ENCODE",
    "CodecModels",
    "Endpoints",
    "Role",
    "codebook_option",
    "codecs_of",
    "endpoints",
    "frames_in",
    "inputs_of",
]

Endpoints: TypeAlias = str | Path | Sequence[str]
"""Addresses of servers, or the folder of a repository whose models run in this process."""


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
        return frames_in(self.longest_s, info)


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
        self.resume = resume or (Resume() if len(transports) > 1 else None)
        self._retry = resume
        self._turn = secrets.randbelow(1 << 16)  # otherwise every client would begin at the same server
        self._infos: dict[str, CodecInfo] = {}
        self._stream_infos: dict[str, StreamInfo | None] = {}

    @property
    def first_transport(self) -> Transport:
        """The way to the server that is asked first."""
        return self._transports[0]

    def transports_in_turn(self) -> Iterable[Transport]:
        """The ways to all servers; each call begins at another one, so that streams spread over them."""
        self._turn += 1
        servers = deque(self._transports)
        servers.rotate(-self._turn)
        return servers

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

    def results(self, calls: Sequence[Call], role: Role, output: str | None = None) -> SansIO[Any]:
        """One output of each call of a role's model, by default the role's.

        With ``resume``, the calls are repeated until its deadline.

        Raises:
            ServerUnavailableError: no server answered.
        """
        info, begun = (yield from self.info(role)), time.monotonic()
        wanted = output or role.output
        wait_s = self._retry.first_wait_s if self._retry else 0.0
        while True:
            try:
                return (yield from self.first_answer(lambda each: each.results(calls, wanted, info.echoes)))
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


def inputs_of(role: Role, data: NDArray[Any], options: Arrays) -> Arrays:
    """Inputs of a stateless model: one utterance, its length, and the options."""
    length = np.array([[data.shape[-1]]], dtype=np.int64)
    return {role.input: data[None], f"{role.input}_len": length, **options}


def codebook_option(num_codebooks: int | None, info: CodecInfo) -> Arrays:
    """The input ``num_codebooks`` [1, 1] of models that have a choice; nothing for the other models."""
    if num_codebooks is None or info.encoded_codebooks or info.min_codebooks == info.num_codebooks:
        return {}
    return {"num_codebooks": np.array([[num_codebooks]], dtype=np.int64)}


def frames_in(seconds: float, info: CodecInfo) -> int:
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
