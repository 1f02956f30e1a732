"""Models of a repository in this process: loaded at their first use, shared by all threads and tasks."""

import ctypes
import logging
import os
import threading
import weakref
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from tritone_runtime.errors import EngineMisfitError, RepositoryError
from tritone_runtime.executors.device import chosen_device
from tritone_runtime.executors.exits import runs
from tritone_runtime.executors.interface import Executor
from tritone_runtime.executors.opening import open_executor
from tritone_runtime.fit import check_whole, engines_among
from tritone_runtime.limits import LONGEST_CALL_S, LONGEST_STEP_S, RequestLimits
from tritone_runtime.manifests import MANIFEST, ModelDescription, read_manifest
from tritone_runtime.repository import ROLES, codecs_in, models_of
from tritone_runtime.streams.batcher import StepBatcher
from tritone_runtime.streams.events import EventLog
from tritone_runtime.streams.limits import stream_limits
from tritone_runtime.streams.scheduler import StreamScheduler

__all__ = ["LocalModels", "StatelessModel", "StreamModel", "local_models"]

Array = NDArray[np.generic]
_log = logging.getLogger(__name__)


class StatelessModel:
    """A model for whole inputs. It runs one call at a time, which bounds its memory.

    Args:
        executors: executors of its graphs, in the order in which they run.
        description: description of the model.
    """

    def __init__(self, executors: Sequence[Executor], description: ModelDescription):
        self._executors, self._lock = executors, threading.Lock()
        self._limits = RequestLimits(description.parameters, LONGEST_CALL_S)

    def run(self, arrays: Mapping[str, Array], output: str) -> Array:
        """Run the model on inputs by name; one output, with its batch axis.

        Raises:
            BadInputError: the inputs break a rule of the model, or are too long.
        """
        self._limits.check(arrays)
        runs.refuse_after_end()
        tensors = dict(arrays)
        with self._lock, runs.one():
            for executor in self._executors:
                given = {name: tensors[name] for name in executor.inputs if name in tensors}
                last = executor is self._executors[-1]
                wanted = [output] if last else executor.outputs
                tensors |= zip(wanted, executor.run(given, wanted), strict=True)
        return tensors[output]


class StreamModel:
    """A model for live streams, which share batches.

    Args:
        executor: executor of the step's graph.
        description: description of the model.
        model: name of the model.
    """

    def __init__(self, executor: Executor, description: ModelDescription, model: str):
        parameters = description.parameters
        assert description.idle_limit_s is not None, "a model for streams"
        limits = stream_limits(parameters, description.idle_limit_s)
        self.scheduler = StreamScheduler(
            executor, description.inputs[0], description.outputs[0], limits, EventLog(model)
        )
        self.batcher = StepBatcher(self.scheduler, description.most_rows)
        self.limits = RequestLimits(parameters, LONGEST_STEP_S)


class LocalModels:
    """The models of one repository.

    Args:
        repository: folder that ``tritone-build models`` wrote.
        device: the device that runs the models: ``auto``, ``cpu`` or ``cuda``.

    Raises:
        RepositoryError: the folder holds no models.
    """

    def __init__(self, repository: Path, device: str):
        self.repository, self._device = repository, device
        self._codecs = codecs_in(repository)
        self._built = _built(repository)
        self._lock = threading.RLock()
        self._executors: dict[str, Executor] = {}
        self._stateless: dict[str, StatelessModel] = {}
        self._streams: dict[str, StreamModel] = {}

    def codecs(self) -> list[str]:
        """Names of the codecs."""
        return self._codecs

    def has(self, model: str) -> bool:
        """Whether the model was built when the repository was opened."""
        return model in self._built

    def description(self, model: str) -> ModelDescription:
        """Inputs, outputs and parameters of a model.

        Raises:
            KeyError: there is no such model.
            RepositoryError: files of its codec are missing, of another version, or were rebuilt meanwhile.
            EngineMisfitError: the model is a TensorRT engine, which this process cannot run.
        """
        roles = {f"{codec}_{role}": codec for codec in self._codecs for role in ROLES}
        codec = roles.get(model)
        if codec is None or not self.has(model):
            raise KeyError(model)
        if _built(self.repository).get(model) != self._built[model]:
            raise RepositoryError(
                f"{self.repository / model} was replaced or removed after it was opened here; close the "
                "codecs and streams of this repository and open them again"
            )
        models_of(self.repository, codec)
        engines = engines_among(self.repository, [model])
        manifest = read_manifest(self.repository / model / "1")
        if engines or "model" not in manifest:
            raise EngineMisfitError(
                f"{model} in {self.repository} is a TensorRT engine, which needs a GPU and a server with "
                f"TensorRT; serve it in NVIDIA's container, or build '{codec}' for the CPU with "
                f"'tritone-build models {codec}'"
            )
        return ModelDescription(**manifest["model"])

    def stateless(self, model: str) -> StatelessModel:
        """A model for whole inputs. Errors as of :meth:`description`; DamagedModelError for a bad file."""
        with self._lock:
            if model not in self._stateless:
                description = self.description(model)
                executors = [self._executor(part) for part in description.pipeline or [model]]
                self._stateless[model] = StatelessModel(executors, description)
            return self._stateless[model]

    def streams(self, model: str) -> StreamModel:
        """A model for live streams; errors as of :meth:`stateless`."""
        with self._lock:
            if model not in self._streams:
                self._streams[model] = StreamModel(self._executor(model), self.description(model), model)
            return self._streams[model]

    def loaded_streams(self, model: str) -> StreamModel | None:
        """:meth:`streams`, if they are loaded; never waits."""
        return self._streams.get(model)

    def _executor(self, model: str) -> Executor:
        if model not in self._executors:
            check_whole(self.repository, [model])
            threads = int(self.description(model).parameters.get("intra_op_thread_count", "0"))
            with runs.one():
                self._executors[model] = open_executor(
                    self.repository / model / "1", threads, self._device, _log.warning
                )
        return self._executors[model]


def _built(repository: Path) -> dict[str, tuple[int, int]]:
    """By model, what changes when it is built again."""
    found = {}
    for folder in repository.iterdir() if repository.is_dir() else ():
        manifest = folder / "1" / MANIFEST
        if folder.is_dir():
            status = manifest.stat() if manifest.exists() else folder.stat()
            found[folder.name] = status.st_ino, status.st_mtime_ns
    return found


_Key: TypeAlias = tuple[Path, str, frozenset[tuple[str, tuple[int, int]]]]
_lock = threading.Lock()
_shared: "weakref.WeakValueDictionary[_Key, LocalModels]" = weakref.WeakValueDictionary()


def local_models(repository: Path, device: str | None = None) -> LocalModels:
    """The models of a repository. All callers in this process share them, as long as one of them holds them.

    A repository that was built again meanwhile is another one.

    Args:
        repository: folder that ``tritone-build models`` wrote.
        device: ``cpu``, ``cuda`` or ``auto``, which is the device that the repository was built for; by
            default what ``TRITONE_DEVICE`` says, else ``auto``.

    Raises:
        RepositoryError: the folder is missing or holds no models.
        DeviceError: there is no such device.
    """
    chosen = chosen_device(device)
    folder = repository.resolve()  # the working directory may change before a model is loaded
    key = (folder, chosen, frozenset(_built(folder).items()))
    with _lock:
        models = _shared.get(key)
        if models is None:
            _shared[key] = models = LocalModels(folder, chosen)
        return models


def _forget_the_parents_models() -> None:
    """Keep them for ever: freeing them would wait for threads that the child does not have."""
    global _lock  # noqa: PLW0603 - another thread of the parent may have held it
    _lock = threading.Lock()
    for models in _shared.values():
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(models))
    _shared.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_the_parents_models)
