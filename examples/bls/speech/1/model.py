"""A Triton model (Python backend) that speaks with a codec of the same server, by business logic scripting.

Its input stands for a prompt: frames [T, K] that a language model would write. In :meth:`_written` put your
own model. Each frame goes to ``<codec>_decode_stream`` as soon as it is written, and each answer to the
caller. Audio does not leave the server in between.
"""

import json
import secrets
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import numpy as np
import triton_python_backend_utils as pb
from arrays import array_of, tensor_of
from numpy.typing import NDArray

_MOST_ID = 1 << 63
"""Ids of sequences are 63 bits here; they must not be guessed by other callers."""


class TritonPythonModel:
    """Answers a request with one response for each frame, and a last empty one."""

    def initialize(self, args: dict[str, str]) -> None:
        """Read which codec speaks."""
        parameters = json.loads(args["model_config"])["parameters"]
        self._model = f"{parameters['codec']['string_value']}_decode_stream"

    def execute(self, requests: list[Any]) -> None:
        """Speak the requests one after the other; more instances of the model speak at the same time."""
        for request in requests:
            sender = request.get_response_sender()
            try:
                for audio in self._spoken(array_of(pb.get_input_tensor_by_name(request, "frames"))):
                    sender.send(pb.InferenceResponse([tensor_of("audio", audio)]))
            except pb.TritonModelException as error:
                sender.send(pb.InferenceResponse(error=pb.TritonError(str(error))))
            sender.send(flags=pb.TRITONSERVER_RESPONSE_COMPLETE_FINAL)

    def _written(self, prompt: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
        """The frames [K] that the language model writes."""
        yield from prompt

    def _spoken(self, prompt: NDArray[np.int64]) -> Iterator[NDArray[np.float32]]:
        stream = _CodecStream(self._model)
        try:
            for frame in self._written(prompt):
                yield stream.push(frame[None, :, None])
        finally:
            with suppress(pb.TritonModelException):  # a stream that was lost has no place to free
                stream.close(np.zeros((1, prompt.shape[1], 0), np.int64))


class _CodecStream:
    """A live stream of a causal codec, as a sequence of requests: START first, END last."""

    def __init__(self, model: str):
        self._model, self._id, self._begun = model, 1 + secrets.randbelow(_MOST_ID - 1), False

    def push(self, tokens: NDArray[np.int64]) -> NDArray[np.float32]:
        """Tokens [1, K, T] -> audio [S]."""
        start = 0 if self._begun else pb.TRITONSERVER_REQUEST_FLAG_SEQUENCE_START
        self._begun = True
        answer = self._ask(tokens, start)
        audio: NDArray[np.float32] = array_of(pb.get_output_tensor_by_name(answer, "audio"))[0]
        return audio

    def close(self, nothing: NDArray[np.int64]) -> None:
        """Free the stream's place; ``nothing`` are tokens [1, K, 0]."""
        if self._begun:
            self._ask(nothing, pb.TRITONSERVER_REQUEST_FLAG_SEQUENCE_END)

    def _ask(self, tokens: NDArray[np.int64], flags: int) -> Any:
        request = pb.InferenceRequest(
            model_name=self._model,
            inputs=[tensor_of("tokens", tokens)],
            requested_output_names=["audio"],
            correlation_id=self._id,
            flags=flags,
        )
        answer = request.exec()
        if answer.has_error():
            raise pb.TritonModelException(answer.error().message())
        return answer
