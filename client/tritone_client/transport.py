"""Requests to Triton over gRPC, with errors told apart by kind."""

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from typing import Any, TypeAlias

import numpy as np
import tritonclient.grpc as triton
from numpy.typing import NDArray
from tritonclient.utils import InferenceServerException, np_to_triton_dtype

from tritone_client.errors import ServerRefusedError, ServerUnavailableError, TritoneError

__all__ = ["Arrays", "Call", "Transport"]

Arrays: TypeAlias = Mapping[str, NDArray[Any]]
Call: TypeAlias = tuple[str, Arrays]
"""A model and its inputs, batch axis first."""

_IN_FLIGHT = 4
_CONNECTION_LOST = ("UNAVAILABLE", "DEADLINE_EXCEEDED", "CANCELLED")


class Transport:
    """One connection; calls may come from several threads."""

    def __init__(self, url: str, timeout_s: float):
        self.url, self.timeout_s = url, timeout_s
        self._client = triton.InferenceServerClient(url)

    def close(self) -> None:
        """Close the connection."""
        self._client.close()

    def ready_models(self) -> list[str]:
        """Names of the models that are loaded."""
        index = self._ask(lambda: self._client.get_model_repository_index(client_timeout=self.timeout_s))
        return [model.name for model in index.models if model.state == "READY"]

    def parameters(self, model: str) -> dict[str, str]:
        """The ``parameters`` of a loaded model's configuration."""
        answer = self._ask(lambda: self._client.get_model_config(model, client_timeout=self.timeout_s))
        return {key: value.string_value for key, value in answer.config.parameters.items()}

    def results(self, calls: Sequence[Call], output: str) -> Iterator[NDArray[Any]]:
        """Send the calls, a few at a time, and yield one output of each in order."""
        if len(calls) == 1:  # waiting in this thread saves handing the answer over from another
            model, arrays = calls[0]
            yield self._array(
                lambda: self._client.infer(model, _inputs(arrays), **self._options(output)), output
            )
            return
        pending: deque[Future[triton.InferResult]] = deque()
        for model, arrays in calls:
            pending.append(self._sent(model, arrays, output))
            if len(pending) == _IN_FLIGHT:
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

        self._client.async_infer(model, _inputs(arrays), done, **self._options(output))
        return future

    def _array(self, wait: Callable[[], Any], output: str) -> NDArray[Any]:
        array: NDArray[Any] = self._ask(wait).as_numpy(output)
        return array

    def _ask(self, question: Callable[[], Any]) -> Any:
        try:
            return question()
        except InferenceServerException as error:
            raise self._translated(error) from error

    def _translated(self, error: InferenceServerException) -> TritoneError:
        status = str(error.status()).removeprefix("StatusCode.")
        if status == "DEADLINE_EXCEEDED":
            return ServerUnavailableError(f"no answer from {self.url} within {self.timeout_s:g} s")
        if status in _CONNECTION_LOST:
            return ServerUnavailableError(
                f"no Triton server answers at {self.url} ({error.message()}); start one with 'make serve', "
                "or give its address"
            )
        return ServerRefusedError(f"the server at {self.url} refused: {error.message()} ({status})")


def _inputs(arrays: Arrays) -> list[triton.InferInput]:
    inputs = []
    for name, array in arrays.items():
        tensor = triton.InferInput(name, array.shape, np_to_triton_dtype(array.dtype))
        tensor.set_data_from_numpy(np.ascontiguousarray(array))
        inputs.append(tensor)
    return inputs
