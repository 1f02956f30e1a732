"""Streams as any client could drive them, right or wrong, and what the server counts of them."""

import re
import secrets
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import tritonclient.grpc as triton
from numpy.typing import NDArray
from tritonclient.utils import InferenceServerException

from direct import NO_PROXY, opened
from tritone_client.transport import inputs_of
from tritonserver import TritonServer

WITHIN_S = 5 + 0.5 + 0.5 + 1
"""A dead stream is gone: idle limit, the backend's grace, a publishing interval, and a second for us."""

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
            client_timeout=30,
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
    with opened(url, timeout_s=5) as answer:
        figures = _FIGURE.findall(answer.read().decode())
    return sum(float(value) for name, of, value in figures if (name, of) == (figure, model))


def comes_true(holds: Callable[[], bool], within_s: float = WITHIN_S) -> bool:
    """Wait for it."""
    deadline = time.monotonic() + within_s
    while not holds():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True


def new_id() -> int:
    """Nobody else's."""
    return 1 + secrets.randbelow(2**62)
