"""Requests to models in this process, without a server, gRPC or protocol buffers.

``tritone_runtime`` loads and runs the models; live streams share batches in the scheduler that servers use.
"""

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from tritone_client.errors import RepositoryError, ServerRefusedError, ServerUnavailableError
from tritone_client.transport.interface import Arrays, Call, Request, StatusError
from tritone_client.transport.statuses import typed_of_known
from tritone_runtime.errors import BadInputError, FullError
from tritone_runtime.errors import RepositoryError as BuiltRepositoryError
from tritone_runtime.local_models import LocalModels, StatelessModel, StreamModel, local_models
from tritone_runtime.pcm import AUDIO_INT16, computed_outputs, int16_of
from tritone_runtime.streams.scheduler import Step

__all__ = ["AsyncLocalTransport", "LocalTransport"]


class _Local:
    """What the transports for threads and for asyncio share.

    Args:
        repository: folder of a model repository.
        device: ``cpu``, ``cuda``, or None for the device that it was built for.
    """

    def __init__(self, repository: Path, device: str | None = None):
        self.url, self.timeout_s = str(repository), float("inf")
        self.name = f"the repository {repository} in this process"
        try:
            self._models = local_models(repository, device)
        except BuiltRepositoryError as error:
            raise _client_error(error) from error

    def _parameters(self, model: str) -> dict[str, str]:
        try:
            return dict(self._models.description(model).parameters)
        except KeyError as error:
            raise ServerRefusedError(f"{self.name} has no model {model}") from error
        except BuiltRepositoryError as error:
            raise _client_error(error) from error

    def _ready(self, model: str) -> bool:
        return self._models.has(model)

    def _ready_models(self) -> list[str]:
        return [f"{codec}_decode" for codec in self._models.codecs()]

    def _result(self, call: Call, output: str) -> NDArray[Any]:
        model, arrays = call
        try:
            return _whole(self._models.stateless(model), arrays, output)
        except Exception as failure:
            error = _client_error(failure)
            if isinstance(error, StatusError):
                error = typed_of_known(error, self.name, self.timeout_s)
            raise error from failure


class LocalTransport(_Local):
    """For threads. It holds no connection: the models are freed with the last codec that uses them."""

    def close(self) -> None:
        """Do nothing."""

    def parameters(self, model: str) -> dict[str, str]:
        """The ``parameters`` of a built model."""
        return self._parameters(model)

    def ready(self, model: str) -> bool:
        """Whether the model is built."""
        return self._ready(model)

    def ready_models(self) -> list[str]:
        """The decoder of each codec."""
        return self._ready_models()

    def results(self, calls: Sequence[Call], output: str, echoes: bool = False) -> list[NDArray[Any]]:
        """One output of each call, in order; ``echoes`` has no effect: here no answer can be mistaken."""
        return [self._result(call, output) for call in calls]

    def connection(self, timeout_s: float | None = None) -> "LocalConnection":
        """A connection for a stream."""
        return LocalConnection(self._models, self.name)

    def explained(self, error: ServerUnavailableError) -> ServerUnavailableError:
        """The same error."""
        return error

    def wait(self, seconds: float) -> None:
        """Sleep."""
        time.sleep(seconds)


class AsyncLocalTransport(_Local):
    """For asyncio: models are loaded and run in threads."""

    async def close(self) -> None:
        """Do nothing."""

    async def parameters(self, model: str) -> dict[str, str]:
        """The ``parameters`` of a built model."""
        return self._parameters(model)

    async def ready(self, model: str) -> bool:
        """Whether the model is built."""
        return self._ready(model)

    async def ready_models(self) -> list[str]:
        """The decoder of each codec."""
        return self._ready_models()

    async def results(self, calls: Sequence[Call], output: str, echoes: bool = False) -> list[NDArray[Any]]:
        """As :meth:`LocalTransport.results`; each call runs in a thread."""
        return [await asyncio.to_thread(self._result, call, output) for call in calls]

    def connection(self, timeout_s: float | None = None) -> "AsyncLocalConnection":
        """A connection for a stream."""
        return AsyncLocalConnection(self._models, self.name)

    async def explained(self, error: ServerUnavailableError) -> ServerUnavailableError:
        """The same error."""
        return error

    async def wait(self, seconds: float) -> None:
        """Sleep; other tasks run meanwhile."""
        await asyncio.sleep(seconds)


class _LocalConnection:
    """The connection of one stream to its model.

    As on Triton's gRPC streams, errors of :meth:`exchange` have no status; if the request is repeated by
    :meth:`ask`, its error has one.
    """

    timeout_s = float("inf")

    def __init__(self, models: LocalModels, name: str):
        self._models, self.name = models, name
        self._stream: StreamModel | None = None

    def _loaded(self, model: str) -> StreamModel:
        if self._stream is None:
            self._stream = self._models.streams(model)
        return self._stream


class LocalConnection(_LocalConnection):
    """For one thread at a time."""

    def exchange(self, request: Request, timeout_s: float | None = None) -> NDArray[Any]:
        """The output of a step; an error has no status."""
        try:
            return self.ask(request)
        except StatusError as error:
            raise StatusError(None, error.message) from error

    def ask(self, request: Request, timeout_s: float | None = None) -> NDArray[Any]:
        """The output of a step or of a whole input; an error has a status."""
        try:
            if request.place is None:
                return _whole(self._models.stateless(request.model), request.arrays, request.output)
            stream = self._loaded(request.model)
            return _as_wanted(stream.batcher.run(_step_of(request, stream)), request.output)
        except Exception as error:
            raise _client_error(error) from error

    def ready(self, model: str) -> bool:
        """True: a model in this process always takes requests."""
        return True

    def close(self) -> None:
        """Do nothing."""


class AsyncLocalConnection(_LocalConnection):
    """For one task at a time."""

    async def exchange(self, request: Request, timeout_s: float | None = None) -> NDArray[Any]:
        """The output of a step; an error has no status."""
        try:
            return await self.ask(request)
        except StatusError as error:
            raise StatusError(None, error.message) from error

    async def ask(self, request: Request, timeout_s: float | None = None) -> NDArray[Any]:
        """The output of a step or of a whole input; an error has a status."""
        try:
            if request.place is None:
                model = await asyncio.to_thread(self._models.stateless, request.model)
                return await asyncio.to_thread(_whole, model, request.arrays, request.output)
            stream = self._models.loaded_streams(request.model)
            if stream is None:  # else no thread is needed, all of which may wait for whole inputs
                stream = await asyncio.to_thread(self._loaded, request.model)
            answer = await stream.batcher.run_async(_step_of(request, stream))
            return _as_wanted(answer, request.output)
        except Exception as error:
            raise _client_error(error) from error

    async def ready(self, model: str) -> bool:
        """True: a model in this process always takes requests."""
        return True

    async def close(self) -> None:
        """Do nothing."""


def _whole(model: StatelessModel, arrays: Arrays, output: str) -> NDArray[Any]:
    """One output of a model for whole inputs, with its batch axis."""
    (computed,) = computed_outputs([output])
    return _as_wanted(model.run(arrays, computed), output)


def _as_wanted(computed: NDArray[Any], output: str) -> NDArray[Any]:
    """The output that was asked for, of the one that the model computed."""
    return int16_of(computed) if output == AUDIO_INT16 else computed


def _step_of(request: Request, stream: StreamModel) -> Step:
    place = request.place
    assert place is not None, "a request of a stream"
    problem = None
    try:
        stream.limits.check(request.arrays, begins=place.start)
    except BadInputError as error:
        problem = error
    return Step(place.sequence_id, request.arrays, place.start, place.end, place.resumed, problem)


def _client_error(error: Exception) -> Exception:
    """An error of a model as a server reports it; an error of the built files as one of this package."""
    if isinstance(error, BuiltRepositoryError):
        return RepositoryError(str(error))
    if isinstance(error, BadInputError):
        return StatusError("INVALID_ARGUMENT", str(error))
    if isinstance(error, FullError):
        return StatusError("UNAVAILABLE", str(error))
    return StatusError("UNKNOWN", f"the model failed: {error}")
