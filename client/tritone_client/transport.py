"""Requests to Triton over gRPC, with errors told apart by kind."""

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from typing import Any, TypeAlias

import numpy as np
import tritonclient.grpc as triton
from numpy.typing import NDArray
from tritonclient.utils import InferenceServerException, np_to_triton_dtype

from tritone_client.access import PLAIN, Access
from tritone_client.connection import Connection
from tritone_client.errors import ServerUnavailableError, TritoneError
from tritone_client.protocols import explained
from tritone_client.served import Call
from tritone_client.wire import Arrays, StatusError, typed, typed_of_known

__all__ = ["IN_FLIGHT", "Telling", "Transport", "inputs_of", "refusal_of"]

Telling: TypeAlias = Callable[[StatusError, str, float], TritoneError]
"""From a refusal, the address and the longest wait to the error for callers."""

IN_FLIGHT = 4
"""Requests of one call that wait for their answers at the same time."""


class Transport:
    """One connection; calls may come from several threads."""

    def __init__(self, url: str, timeout_s: float, access: Access = PLAIN):
        self.url, self.timeout_s, self._access = url, timeout_s, access
        self._client = access.client(triton, url)

    def close(self) -> None:
        """Close the connection."""
        self._client.close()

    def ready_models(self) -> list[str]:
        """Names of the models that are loaded."""
        index = self._ask(lambda: self._client.get_model_repository_index(client_timeout=self.timeout_s))
        return [model.name for model in index.models if model.state == "READY"]

    def wait(self, seconds: float) -> None:
        """Sleep."""
        time.sleep(seconds)

    def explained(self, error: ServerUnavailableError) -> ServerUnavailableError:
        """That error, or a more telling one after a look at what listens there."""
        return explained(error, self.url, self._access.tls is not None)

    def connection(self, timeout_s: float | None = None) -> Connection:
        """Another connection to the same server, for a stream."""
        return Connection(self.url, timeout_s or self.timeout_s, self._access)

    def ready(self, model: str) -> bool:
        """Whether the model is loaded."""
        return bool(self._ask(lambda: self._client.is_model_ready(model, client_timeout=self.timeout_s)))

    def parameters(self, model: str) -> dict[str, str]:
        """The ``parameters`` of a loaded model's configuration."""
        answer = self._ask(lambda: self._client.get_model_config(model, client_timeout=self.timeout_s))
        return {key: value.string_value for key, value in answer.config.parameters.items()}

    def results(self, calls: Sequence[Call], output: str) -> list[NDArray[Any]]:
        """Send the calls, a few at a time; one output of each in order."""
        return list(self._results(calls, output))

    def _results(self, calls: Sequence[Call], output: str) -> Iterator[NDArray[Any]]:
        if len(calls) == 1:  # waiting in this thread saves handing the answer over from another
            model, arrays = calls[0]
            yield self._array(
                lambda: self._client.infer(model, inputs_of(arrays), **self._options(output)), output
            )
            return
        pending: deque[Future[triton.InferResult]] = deque()
        for model, arrays in calls:
            pending.append(self._sent(model, arrays, output))
            if len(pending) == IN_FLIGHT:
                yield self._array(pending.popleft().result, output)
        while pending:
            yield self._array(pending.popleft().result, output)

    def _options(self, output: str) -> dict[str, Any]:
        return {"outputs": [triton.InferRequestedOutput(output)], "client_timeout": self.timeout_s}

    def _sent(self, model: str, arrays: Arrays, output: str) -> "Future[triton.InferResult]":
        future: Future[triton.InferResult] = Future()

        def done(result: Any, error: Any) -> None:
            if error is None:
                future.set_result(result)
            else:
                future.set_exception(error)

        self._client.async_infer(model, inputs_of(arrays), done, **self._options(output))
        return future

    def _array(self, wait: Callable[[], Any], output: str) -> NDArray[Any]:
        array: NDArray[Any] = self._ask(wait, typed_of_known).as_numpy(output)
        return array

    def _ask(self, question: Callable[[], Any], told: Telling = typed) -> Any:
        try:
            return question()
        except InferenceServerException as error:
            raise told(refusal_of(error), self.url, self.timeout_s) from error


def refusal_of(error: InferenceServerException) -> StatusError:
    """What tritonclient raised, as the connections of streams raise it."""
    return StatusError(str(error.status()).removeprefix("StatusCode."), error.message())


def inputs_of(arrays: Arrays) -> list[triton.InferInput]:
    """Arrays as tritonclient takes them."""
    inputs = []
    for name, array in arrays.items():
        tensor = triton.InferInput(name, array.shape, np_to_triton_dtype(array.dtype))
        tensor.set_data_from_numpy(np.ascontiguousarray(array))
        inputs.append(tensor)
    return inputs
