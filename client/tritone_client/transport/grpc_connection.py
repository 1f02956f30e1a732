"""The connection of one codec stream: a gRPC stream of its own, which keeps its requests in order."""

import threading
import weakref
from queue import Empty, SimpleQueue
from typing import Any

import grpc  # type: ignore[import-untyped]
from numpy.typing import NDArray
from tritonclient.grpc import service_pb2, service_pb2_grpc

from tritone_client.transport.access import PLAIN, Access
from tritone_client.transport.addresses import server_at
from tritone_client.transport.interface import Request, StatusError
from tritone_client.transport.wire import message_of, status_of, tensor_of

__all__ = ["Connection", "GrpcEndpoint"]

_END_S = 1.0


class GrpcEndpoint:
    """A channel to a server.

    Args:
        module: ``grpc`` or ``grpc.aio``.
        url: address of the server.
        timeout_s: longest wait for an answer.
        access: encryption and API key.
    """

    def __init__(self, module: Any, url: str, timeout_s: float, access: Access):
        self.url, self.timeout_s, self._access = url, timeout_s, access
        self.name = server_at(url)
        self._channel = access.channel(module, url)
        self._stub = service_pb2_grpc.GRPCInferenceServiceStub(self._channel)

    def _options(self, timeout_s: float | None = None) -> dict[str, Any]:
        return {"timeout": timeout_s or self.timeout_s, "metadata": self._access.metadata()}


class Connection(GrpcEndpoint):
    """For one thread at a time. Methods raise :class:`StatusError`, and wait at most ``timeout_s``."""

    def __init__(self, url: str, timeout_s: float, access: Access = PLAIN):
        super().__init__(grpc, url, timeout_s, access)
        self._requests: SimpleQueue[Any] = SimpleQueue()
        self._answers: SimpleQueue[Any] = SimpleQueue()
        self._reader: threading.Thread | None = None
        self._waiting = False
        # Not __del__: when a program ends, gRPC's threads end first, and closing would wait for them.
        self._finalizer = weakref.finalize(self, _close_channel, self._requests, self._channel)

    def exchange(self, request: Request, timeout_s: float | None = None) -> NDArray[Any]:
        """Send a request on the gRPC stream, and wait for its answer."""
        message = message_of(request)
        return tensor_of(self._response(message, timeout_s or self.timeout_s), message)

    def _response(self, message: Any, timeout_s: float) -> Any:
        if self._reader is None:
            call = self._stub.ModelStreamInfer(
                iter(self._requests.get, None), metadata=self._access.metadata()
            )
            self._reader = threading.Thread(target=_read, args=(call, self._answers), daemon=True)
            self._reader.start()
        self._waiting = True
        self._requests.put(message)
        try:
            answer = self._answers.get(timeout=timeout_s)
        except Empty:
            raise StatusError("DEADLINE_EXCEEDED", "no answer") from None
        self._waiting = False
        if isinstance(answer, StatusError):
            raise answer
        return answer

    def ask(self, request: Request, timeout_s: float | None = None) -> NDArray[Any]:
        """Send a request outside the gRPC stream, and wait for its answer."""
        message = message_of(request)
        try:
            response = self._stub.ModelInfer(message, **self._options(timeout_s))
        except grpc.RpcError as error:
            raise status_of(error) from error
        return tensor_of(response, message)

    def ready(self, model: str) -> bool:
        """Whether the server has the model and takes requests for it."""
        try:
            request = service_pb2.ModelReadyRequest(name=model)
            return bool(self._stub.ModelReady(request, **self._options()).ready)
        except grpc.RpcError as error:
            raise status_of(error) from error

    def close(self) -> None:
        """Close the connection. Unless a request is under way, end the gRPC stream in order first."""
        self._requests.put(None)
        if self._reader is not None and not self._waiting:
            self._reader.join(_END_S)
        self._finalizer()


def _close_channel(requests: "SimpleQueue[Any]", channel: grpc.Channel) -> None:
    requests.put(None)
    channel.close()


def _read(call: Any, answers: "SimpleQueue[Any]") -> None:
    """Queue the answers of a call. Not a method: the thread would keep the connection alive."""
    try:
        for message in call:
            text = message.error_message
            answers.put(StatusError(None, text) if text else message.infer_response)
        answers.put(StatusError("UNAVAILABLE", "the server ended the stream"))
    except grpc.RpcError as error:
        answers.put(status_of(error))
