"""Requests to Triton over gRPC, for threads; each kind of failure raises its own error."""

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeAlias

import grpc  # type: ignore[import-untyped]
from numpy.typing import NDArray
from tritonclient.grpc import service_pb2

from tritone_client.errors import ServerUnavailableError, TritoneError
from tritone_client.transport.access import PLAIN, Access
from tritone_client.transport.grpc_connection import Connection, GrpcEndpoint
from tritone_client.transport.interface import Call, Request, StatusError
from tritone_client.transport.protocols import explained
from tritone_client.transport.statuses import typed, typed_of_known
from tritone_client.transport.wire import message_of, status_of, tensor_of

__all__ = ["IN_FLIGHT", "ErrorFromStatus", "Transport"]

ErrorFromStatus: TypeAlias = Callable[[StatusError, str, float], TritoneError]
"""Makes the error for callers from a status, the server's name and the timeout in seconds."""

IN_FLIGHT = 4
"""Most requests of one call to ``results`` that wait for their answers at the same time."""


class Transport(GrpcEndpoint):
    """One connection to a server; several threads may use it."""

    def __init__(self, url: str, timeout_s: float, access: Access = PLAIN):
        super().__init__(grpc, url, timeout_s, access)

    def close(self) -> None:
        """Close the connection."""
        self._channel.close()

    def ready_models(self) -> list[str]:
        """Names of the models that are loaded."""
        index = self._ask(self._stub.RepositoryIndex, service_pb2.RepositoryIndexRequest())
        return [model.name for model in index.models if model.state == "READY"]

    def wait(self, seconds: float) -> None:
        """Sleep."""
        time.sleep(seconds)

    def explained(self, error: ServerUnavailableError) -> ServerUnavailableError:
        """The same error, or a more precise one, after a look at what listens on the port."""
        return explained(error, self.url, self._access.tls is not None)

    def connection(self, timeout_s: float | None = None) -> Connection:
        """A new connection to the same server, for a stream."""
        return Connection(self.url, timeout_s or self.timeout_s, self._access)

    def ready(self, model: str) -> bool:
        """Whether the model is loaded."""
        return bool(self._ask(self._stub.ModelReady, service_pb2.ModelReadyRequest(name=model)).ready)

    def parameters(self, model: str) -> dict[str, str]:
        """The ``parameters`` of a loaded model's configuration."""
        answer = self._ask(self._stub.ModelConfig, service_pb2.ModelConfigRequest(name=model))
        return {key: value.string_value for key, value in answer.config.parameters.items()}

    def results(self, calls: Sequence[Call], output: str, echoes: bool = False) -> list[NDArray[Any]]:
        """Send the calls, a few at a time; one output of each call, in order, with its batch axis.

        Args:
            calls: models and their inputs.
            output: name of the output to return.
            echoes: whether the models return each request's nonce, by which its answer is recognized.

        Raises:
            ServerLostError: an answer did not belong to its request; nothing of it was used.
            ServerRefusedError: the server answered with an error.
            ServerUnavailableError: the server does not answer, or the connection broke.
        """
        return list(self._results(calls, output, echoes))

    def _results(self, calls: Sequence[Call], output: str, echoes: bool) -> Iterator[NDArray[Any]]:
        requests = [message_of(Request(model, arrays, output, echoes=echoes)) for model, arrays in calls]
        if len(requests) == 1:  # faster than a future, whose answer comes from another thread
            yield tensor_of(self._ask(self._stub.ModelInfer, requests[0], typed_of_known), requests[0])
            return
        pending: deque[tuple[Any, Any]] = deque()
        for request in requests:
            pending.append((request, self._stub.ModelInfer.future(request, **self._options())))
            if len(pending) == IN_FLIGHT:
                yield self._received(*pending.popleft())
        while pending:
            yield self._received(*pending.popleft())

    def _received(self, request: Any, future: Any) -> NDArray[Any]:
        return tensor_of(self._result_of(future.result, typed_of_known), request)

    def _ask(self, method: Callable[..., Any], request: Any, error_from: ErrorFromStatus = typed) -> Any:
        return self._result_of(lambda: method(request, **self._options()), error_from)

    def _result_of(self, call: Callable[[], Any], error_from: ErrorFromStatus) -> Any:
        try:
            return call()
        except grpc.RpcError as error:
            raise error_from(status_of(error), self.name, self.timeout_s) from error
