"""Streams without our client's checks, the server's counters, and waiting for a condition."""

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
"""Limit of every wait: only something that hangs takes this long, even on a busy machine."""

_FIGURE = re.compile(r'^tritone_(\w+)\{[^}]*model="([^"]*)"[^}]*\} (\S+)$', re.MULTILINE)


class RawStreams:
    """Sends single steps to the streams of one model, unchecked."""

    def __init__(self, server: TritonServer, model: str):
        self.model, self._server = model, server
        self.client = triton.InferenceServerClient(server.url, channel_args=[NO_PROXY])
        self._input, self._output = (
            ("tokens", "audio") if model.endswith("_decode_stream") else ("audio", "tokens")
        )

    def step(
        self, stream: int, data: NDArray[Any], start: bool = False, end: bool = False, **more: int
    ) -> NDArray[Any]:
        """Send one step; return its output without the batch axis.

        Args:
            stream: sequence id.
            data: tokens [K, T] or audio [S].
            start: set the START flag.
            end: set the END flag.
            more: values of further scalar inputs, by name.
        """
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
        """Status and message of a step that fails; an empty string if it succeeds."""
        try:
            self.step(stream, data, **options)
        except InferenceServerException as error:
            return f"{error.status()} {error.message()}".removeprefix("StatusCode.")
        return ""

    def count(self, figure: str) -> float:
        """The metric ``tritone_<figure>`` of this model, summed over its other labels."""
        return counted(self._server, figure, self.model)


def counted(server: TritonServer, figure: str, model: str) -> float:
    """The metric ``tritone_<figure>`` of a model, summed over its other labels."""
    url = server.metrics_url
    with opened(url, timeout_s=HANGS_S) as answer:
        figures = _FIGURE.findall(answer.read().decode())
    return sum(float(value) for name, of, value in figures if (name, of) == (figure, model))


def comes_true(holds: Callable[[], bool]) -> bool:
    """Wait until the condition holds; return False if it does not hold within ``HANGS_S``."""
    deadline = time.monotonic() + HANGS_S
    while not holds():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True


def silenced(server: TritonServer, model: str) -> bool:
    """Wait until a model has live streams, then until the server has ended all of them for being idle."""
    return comes_true(lambda: counted(server, "streams_live", model) > 0) and comes_true(
        lambda: counted(server, "streams_live", model) == 0
    )


@contextmanager
def paused(pid: int) -> Iterator[None]:
    """Pause all threads of a process until the context ends; the process may be killed meanwhile."""
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
    """A random sequence id, which no other stream has."""
    return 1 + secrets.randbelow(2**62)


def inputs_of(arrays: Arrays) -> list[triton.InferInput]:
    """Arrays as inputs of tritonclient."""
    inputs = []
    for name, array in arrays.items():
        tensor = triton.InferInput(name, array.shape, np_to_triton_dtype(array.dtype))
        tensor.set_data_from_numpy(np.ascontiguousarray(array))
        inputs.append(tensor)
    return inputs
