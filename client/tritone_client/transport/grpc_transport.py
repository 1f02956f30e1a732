"""Requests to Triton over gRPC, with errors told apart by kind."""

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeAlias

import grpc  # type: ignore[import-untyped]
from numpy.typing import NDArray
from tritonclient.grpc import service_pb2, service_pb2_grpc

from tritone_client.errors import ServerUnavailableError, TritoneError
from tritone_client.transport.access import PLAIN, Access
from tritone_client.transport.addresses import server_at
from tritone_client.transport.grpc_connection import Connection
from tritone_client.transport.interface import Call, Request, StatusError
from tritone_client.transport.protocols import explained
from tritone_client.transport.statuses import typed, typed_of_known
from tritone_client.transport.wire import message_of, status_of, tensor_of

__all__ = ["IN_FLIGHT", "Telling", "Transport"]

Telling: TypeAlias = Callable[[StatusError, str, float], TritoneError]
"""From a refusal, the address and the longest wait to the error for callers."""

IN_FLIGHT = 4
"""Requests of one call that wait for their answers at the same time."""


class Transport:
    """One connection; calls may come from several threads."""

    def __init__(self, url: str, timeout_s: float, access: Access = PLAIN):
        self.url, self.timeout_s, self._access = url, timeout_s, access
        self.name = server_at(url)
        self._channel = access.channel(grpc, url)
        self._stub = service_pb2_grpc.GRPCInferenceServiceStub(self._channel)

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
        """That error, or a more telling one after a look at what listens there."""
        return explained(error, self.url, self._access.tls is not None)

    def connection(self, timeout_s: float | None = None) -> Connection:
        """Another connection to the same server, for a stream."""
        return Connection(self.url, timeout_s or self.timeout_s, self._access)

    def ready(self, model: str) -> bool:
        """Whether the model is loaded."""
        return bool(self._ask(self._stub.ModelReady, service_pb2.ModelReadyRequest(name=model)).ready)

    def parameters(self, model: str) -> dict[str, str]:
        """The ``parameters`` of a loaded model's configuration."""
        answer = self._ask(self._stub.ModelConfig, service_pb2.ModelConfigRequest(name=model))
        return {key: value.string_value for key, value in answer.config.parameters.items()}

    def results(self, calls: Sequence[Call], output: str, echoes: bool = False) -> list[NDArray[Any]]:
        """Send the calls, a few at a time; one output of each in order, with its batch axis.

        Args:
            calls: models and their inputs.
            output: name of the output that is wanted.
            echoes: the models return each request's nonce, by which its answer is known.

        Raises:
            ServerLostError: an answer was not to its request; nothing of it was used.
            ServerRefusedError, ServerUnavailableError: what else the server did with it.
        """
        return list(self._results(calls, output, echoes))

    def _results(self, calls: Sequence[Call], output: str, echoes: bool) -> Iterator[NDArray[Any]]:
        requests = [message_of(Request(model, arrays, output, echoes=echoes)) for model, arrays in calls]
        if len(requests) == 1:  # waiting in this thread saves handing the answer over from another
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
        return tensor_of(self._told(future.result, typed_of_known), request)

    def _options(self) -> dict[str, Any]:
        return {"timeout": self.timeout_s, "metadata": self._access.metadata()}

    def _ask(self, method: Callable[..., Any], request: Any, telling: Telling = typed) -> Any:
        return self._told(lambda: method(request, **self._options()), telling)

    def _told(self, question: Callable[[], Any], telling: Telling) -> Any:
        try:
            return question()
        except grpc.RpcError as error:
            raise telling(status_of(error), self.name, self.timeout_s) from error
