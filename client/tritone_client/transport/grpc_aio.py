"""Requests to Triton over gRPC, for asyncio."""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import grpc  # type: ignore[import-untyped]
from numpy.typing import NDArray
from tritonclient.grpc import service_pb2

from tritone_client.errors import ServerUnavailableError
from tritone_client.transport.access import PLAIN, Access
from tritone_client.transport.grpc_connection import GrpcEndpoint
from tritone_client.transport.grpc_transport import IN_FLIGHT, ErrorFromStatus
from tritone_client.transport.interface import Call, Request, StatusError
from tritone_client.transport.protocols import explained
from tritone_client.transport.statuses import typed, typed_of_known
from tritone_client.transport.wire import message_of, status_of, tensor_of

__all__ = ["AsyncConnection", "AsyncTransport"]

_END_S = 1.0


class AsyncTransport(GrpcEndpoint):
    """:class:`tritone_client.transport.grpc_transport.Transport` for the running event loop."""

    def __init__(self, url: str, timeout_s: float, access: Access = PLAIN):
        super().__init__(grpc.aio, url, timeout_s, access)

    async def close(self) -> None:
        """Close the connection."""
        await self._channel.close()

    async def wait(self, seconds: float) -> None:
        """Sleep; other tasks run meanwhile."""
        await asyncio.sleep(seconds)

    async def explained(self, error: ServerUnavailableError) -> ServerUnavailableError:
        """The same error, or a more precise one, after a look at what listens on the port."""
        return await asyncio.to_thread(explained, error, self.url, self._access.tls is not None)

    def connection(self, timeout_s: float | None = None) -> "AsyncConnection":
        """A new connection to the same server, for a stream."""
        return AsyncConnection(self.url, timeout_s or self.timeout_s, self._access)

    async def ready(self, model: str) -> bool:
        """Whether the model is loaded."""
        return bool((await self._ask(self._stub.ModelReady, service_pb2.ModelReadyRequest(name=model))).ready)

    async def ready_models(self) -> list[str]:
        """Names of the models that are loaded."""
        index = await self._ask(self._stub.RepositoryIndex, service_pb2.RepositoryIndexRequest())
        return [model.name for model in index.models if model.state == "READY"]

    async def parameters(self, model: str) -> dict[str, str]:
        """The ``parameters`` of a loaded model's configuration."""
        answer = await self._ask(self._stub.ModelConfig, service_pb2.ModelConfigRequest(name=model))
        return {key: value.string_value for key, value in answer.config.parameters.items()}

    async def results(self, calls: Sequence[Call], output: str, echoes: bool = False) -> list[NDArray[Any]]:
        """As :meth:`tritone_client.transport.grpc_transport.Transport.results`."""
        in_flight = asyncio.Semaphore(IN_FLIGHT)

        async def result(call: Call) -> NDArray[Any]:
            model, arrays = call
            request = message_of(Request(model, arrays, output, echoes=echoes))
            async with in_flight:
                return tensor_of(await self._ask(self._stub.ModelInfer, request, typed_of_known), request)

        failures: Sequence[Exception] = ()
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(result(call)) for call in calls]
        except ExceptionGroup as failed:
            failures = failed.exceptions
        if failures:  # raise the first one: callers expect no exception groups
            raise failures[0]
        return [task.result() for task in tasks]

    async def _ask(
        self, method: Callable[..., Any], request: Any, error_from: ErrorFromStatus = typed
    ) -> Any:
        try:
            return await method(request, **self._options())
        except grpc.RpcError as error:
            raise error_from(status_of(error), self.name, self.timeout_s) from error


class AsyncConnection(GrpcEndpoint):
    """:class:`tritone_client.transport.grpc_connection.Connection` for asyncio."""

    def __init__(self, url: str, timeout_s: float, access: Access = PLAIN):
        super().__init__(grpc.aio, url, timeout_s, access)
        self._call: Any = None
        self._waiting = False

    async def exchange(self, request: Request, timeout_s: float | None = None) -> NDArray[Any]:
        """Send a request on the gRPC stream, and wait for its answer."""
        message = message_of(request)
        return tensor_of(await self._response(message, timeout_s or self.timeout_s), message)

    async def _response(self, request: Any, timeout_s: float) -> Any:
        if self._call is None:
            self._call = self._stub.ModelStreamInfer(metadata=self._access.metadata())
        self._waiting = True
        try:
            async with asyncio.timeout(timeout_s):
                message = await self._write_and_read(request)
        except TimeoutError:
            raise StatusError("DEADLINE_EXCEEDED", "no answer") from None
        except grpc.RpcError as error:
            raise status_of(error) from error
        if message is grpc.aio.EOF:
            raise StatusError("UNAVAILABLE", "the server ended the stream")
        self._waiting = False
        if message.error_message:
            raise StatusError(None, message.error_message)
        return message.infer_response

    async def _write_and_read(self, request: Any) -> Any:
        try:
            await self._call.write(request)
        except asyncio.InvalidStateError:  # the call has ended; reading raises its error
            return await self._call.read()
        return await self._call.read()

    async def ask(self, request: Request, timeout_s: float | None = None) -> NDArray[Any]:
        """Send a request outside the gRPC stream, and wait for its answer."""
        message = message_of(request)
        try:
            response = await self._stub.ModelInfer(message, **self._options(timeout_s))
        except grpc.RpcError as error:
            raise status_of(error) from error
        return tensor_of(response, message)

    async def ready(self, model: str) -> bool:
        """Whether the server has the model and takes requests for it."""
        try:
            request = service_pb2.ModelReadyRequest(name=model)
            return bool((await self._stub.ModelReady(request, **self._options())).ready)
        except grpc.RpcError as error:
            raise status_of(error) from error

    async def close(self) -> None:
        """Close the connection. Unless a request is under way, end the gRPC stream in order first."""
        if self._call is not None and not self._waiting:
            with suppress(TimeoutError, grpc.RpcError, asyncio.InvalidStateError):
                async with asyncio.timeout(_END_S):
                    await self._call.done_writing()
                    await self._call.read()
        await self._channel.close()
