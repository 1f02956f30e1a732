"""Streams as any client could drive them, right or wrong, what the server counts of them, and waiting."""

import os
import re
import secrets
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import tritonclient.grpc as triton
from numpy.typing import NDArray
from tritonclient.utils import InferenceServerException, np_to_triton_dtype

from tritone_client.transport.interface import Arrays
from tritone_server.direct import NO_PROXY, opened
from tritone_server.launcher import TritonServer

HANGS_S = 300
"""Nothing that works takes so long, however busy the machine is: the limit of all that is waited for."""

_FIGURE = re.compile(r'^tritone_(\w+)\{[^}]*model="([^"]*)"[^}]*\} (\S+)$', re.MULTILINE)


class RawStreams:
    """Steps of streams of one model, sent one by one as they are."""

    def __init__(self, server: TritonServer, model: str):
        self.model, self._server = model, server
        self.client = triton.InferenceServerClient(server.url, channel_args=[NO_PROXY])
        self._input, self._output = (
            ("tokens", "audio") if model.endswith("_decode_stream") else ("audio", "tokens")
        )

    def step(
        self, stream: int, data: NDArray[Any], start: bool = False, end: bool = False, **more: int
    ) -> NDArray[Any]:
        """The answer, without batch axis; ``more`` are other inputs."""
        arrays = {self._input: data[None], **{name: np.array([[value]]) for name, value in more.items()}}
        answer = self.client.infer(
            self.model,
            inputs_of(arrays),
            sequence_id=stream,
            sequence_start=start,
            sequence_end=end,
            client_timeout=HANGS_S,
        )
        array: NDArray[Any] = answer.as_numpy(self._output)[0]
        return array

    def refusal(self, stream: int, data: NDArray[Any], **options: Any) -> str:
        """Status and message of a step that must fail; else an empty text."""
        try:
            self.step(stream, data, **options)
        except InferenceServerException as error:
            return f"{error.status()} {error.message()}".removeprefix("StatusCode.")
        return ""

    def count(self, figure: str) -> float:
        """What Prometheus reads: ``tritone_<figure>`` of this model, over all its labels."""
        return counted(self._server, figure, self.model)


def counted(server: TritonServer, figure: str, model: str) -> float:
    """What Prometheus reads: ``tritone_<figure>`` of a model, over all its labels."""
    url = server.metrics_url
    with opened(url, timeout_s=HANGS_S) as answer:
        figures = _FIGURE.findall(answer.read().decode())
    return sum(float(value) for name, of, value in figures if (name, of) == (figure, model))


def comes_true(holds: Callable[[], bool]) -> bool:
    """Wait for it."""
    deadline = time.monotonic() + HANGS_S
    while not holds():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True


def silenced(server: TritonServer, model: str) -> bool:
    """Wait until the live streams of a model, one at least, have been ended because nothing came."""
    return comes_true(lambda: counted(server, "streams_live", model) > 0) and comes_true(
        lambda: counted(server, "streams_live", model) == 0
    )


@contextmanager
def paused(pid: int) -> Iterator[None]:
    """None of a process's threads runs, until the end, or somebody ends it."""
    os.kill(pid, signal.SIGSTOP)
    try:
        assert comes_true(lambda: all(map(_stopped, Path(f"/proc/{pid}/task").iterdir())))
        yield
    finally:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)


def _stopped(thread: Path) -> bool:
    return thread.joinpath("stat").read_text().rpartition(")")[2].split()[0] == "T"


def new_id() -> int:
    """Nobody else's."""
    return 1 + secrets.randbelow(2**62)


def inputs_of(arrays: Arrays) -> list[triton.InferInput]:
    """Arrays as tritonclient takes them."""
    inputs = []
    for name, array in arrays.items():
        tensor = triton.InferInput(name, array.shape, np_to_triton_dtype(array.dtype))
        tensor.set_data_from_numpy(np.ascontiguousarray(array))
        inputs.append(tensor)
    return inputs
