"""Rows of a batch that run apart, each in one thread of ONNX Runtime.

A batch runs operator by operator, and many operators use one thread while the others wait. If each thread
runs the whole model for its share of the rows, none waits for another. But each reads all weights, so this
pays where a row computes much with each weight; docs/architecture.md has figures.
"""

import threading
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from tritone_runtime.executors.state import StateTensor
from tritone_runtime.streams.slots import FreeSlots, HostSlots

if TYPE_CHECKING:
    from tritone_runtime.executors.onnx_runtime import OnnxExecutor

__all__ = ["PAYS_FROM", "ApartSlots", "BackgroundRun", "finished", "shares"]

Array = NDArray[np.generic]
PAYS_FROM = 5.0
"""Floating-point operations of a row for each byte of weights, from which running apart pays."""


def shares(rows: int, most: int) -> list[slice]:
    """At most ``most`` shares of the rows, as equal as possible, the largest first."""
    count = min(rows, most)
    edges = [rows - rows * (count - n) // count for n in range(count + 1)]
    return [slice(start, stop) for start, stop in pairwise(edges)]


class BackgroundRun:
    """A run that has begun in a thread of the session.

    Args:
        session: the model; it has more than one thread.
        outputs: names of the outputs.
        inputs: arrays by name, which must not change until the run is over.
        options: options of the run.

    Raises:
        onnxruntime.capi.onnxruntime_pybind11_state.InvalidArgument: the session has one thread.
    """

    def __init__(
        self,
        session: onnxruntime.InferenceSession,
        outputs: Sequence[str],
        inputs: Mapping[str, Array],
        options: onnxruntime.RunOptions,
    ):
        self._inputs, self._over = inputs, threading.Event()
        self._results: list[Array] = []
        self._error = ""
        session.run_async(list(outputs), dict(inputs), self._end, None, options)

    def _end(self, results: list[Array], _: Any, error: str) -> None:
        self._results, self._error = results, error
        self._over.set()

    def wait(self) -> None:
        """Wait for the end of the run."""
        self._over.wait()

    def results(self) -> list[Array]:
        """The outputs of a run that is over.

        Raises:
            RuntimeError: the run failed.
        """
        if self._error:
            raise RuntimeError(self._error)
        return self._results


def finished(started: Sequence[BackgroundRun]) -> None:
    """Wait until all runs are over, even when interrupted: they read the memory of live streams."""
    interrupt: BaseException | None = None
    for run in started:
        while True:
            try:
                run.wait()
                break
            except BaseException as error:
                interrupt = error
    if interrupt is not None:
        raise interrupt


class ApartSlots(HostSlots):
    """Slots in main memory, whose steps run apart.

    Args:
        executor: executor of the step.
        tensors: as of :class:`HostSlots`.
        count: as of :class:`HostSlots`.
        free: as of :class:`HostSlots`.
    """

    def __init__(
        self,
        executor: "OnnxExecutor",
        tensors: Sequence[StateTensor],
        count: int,
        free: FreeSlots | None = None,
    ):
        super().__init__(executor, tensors, count, free)
        self._apart, self._by_row = executor, (executor.inputs[0], "slot")

    def run(self, given: Mapping[str, Array], keep_memory: bool) -> dict[str, Any]:
        """Run the model on the inputs ``given`` and the state; its outputs by name."""
        parts = shares(len(given["slot"]), self._apart.most_apart)
        if len(parts) == 1:
            return super().run(given, keep_memory)
        runs = self._apart.run_apart([self._share(given, rows) for rows in parts], keep_memory)
        joined = (np.concatenate(each) for each in zip(*runs, strict=True))
        return dict(zip(self._apart.outputs, joined, strict=True))

    def _share(self, given: Mapping[str, Array], rows: slice) -> dict[str, Array]:
        """The inputs of some rows; options are those of all rows."""
        return {**given, **{name: given[name][rows] for name in self._by_row}, **self.pasts}
