"""The connection of one codec stream: a gRPC stream of its own, so that its requests stay together."""

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

__all__ = ["Connection"]

_PARTING_S = 1.0


class Connection:
    """For one thread at a time. Every method raises :class:`StatusError`, and waits ``timeout_s`` at most."""

    def __init__(self, url: str, timeout_s: float, access: Access = PLAIN):
        self.timeout_s, self._access = timeout_s, access
        self.name = server_at(url)
        self._channel = access.channel(grpc, url)
        self._stub = service_pb2_grpc.GRPCInferenceServiceStub(self._channel)
        self._requests: SimpleQueue[Any] = SimpleQueue()
        self._answers: SimpleQueue[Any] = SimpleQueue()
        self._reader: threading.Thread | None = None
        self._waiting = False
        # Not __del__: at the end of a program gRPC's threads are gone by then, and closing waits for them.
        self._leaving = weakref.finalize(self, _hang_up, self._requests, self._channel)

    def exchange(self, request: Request, timeout_s: float | None = None) -> NDArray[Any]:
        """Send on the gRPC stream, and wait for the answer there."""
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
        """Send beside the gRPC stream."""
        message, within_s = message_of(request), timeout_s or self.timeout_s
        try:
            response = self._stub.ModelInfer(message, timeout=within_s, metadata=self._access.metadata())
        except grpc.RpcError as error:
            raise status_of(error) from error
        return tensor_of(response, message)

    def ready(self, model: str) -> bool:
        """Whether the server has the model and takes requests for it."""
        try:
            request = service_pb2.ModelReadyRequest(name=model)
            answer = self._stub.ModelReady(request, timeout=self.timeout_s, metadata=self._access.metadata())
            return bool(answer.ready)
        except grpc.RpcError as error:
            raise status_of(error) from error

    def close(self) -> None:
        """Hang up; where nothing is under way, by ending the gRPC stream rather than breaking it."""
        self._requests.put(None)
        if self._reader is not None and not self._waiting:
            self._reader.join(_PARTING_S)
        self._leaving()


def _hang_up(requests: "SimpleQueue[Any]", channel: grpc.Channel) -> None:
    requests.put(None)
    channel.close()


def _read(call: Any, answers: "SimpleQueue[Any]") -> None:
    """Hand over what comes; a function, so that the thread does not keep its connection alive."""
    try:
        for message in call:
            failed = message.error_message
            answers.put(StatusError(None, failed) if failed else message.infer_response)
        answers.put(StatusError("UNAVAILABLE", "the server ended the stream"))
    except grpc.RpcError as error:
        answers.put(status_of(error))
