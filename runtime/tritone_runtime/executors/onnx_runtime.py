"""One ONNX model on ONNX Runtime: named arrays in, named arrays out."""

import ctypes
import os
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from onnxruntime.capi.onnxruntime_pybind11_state import InvalidArgument

from tritone_runtime.errors import BadInputError
from tritone_runtime.executors.apart import PAYS_FROM, ApartSlots, BackgroundRun, finished
from tritone_runtime.executors.state import state_tensors
from tritone_runtime.streams.slots import FreeSlots, HostSlots

__all__ = ["OnnxExecutor"]

_RULE = re.compile(r"Name:'(?P<rule>[^']* must [^']*)'")
_LONG_RUN_S, _MANY_RUNS = 1.0, 64
"""After a run this long, or this many runs, the time to return memory does not matter."""


class OnnxExecutor:
    """A loaded model. ``outputs`` are its output names in order; ``metadata`` is what the builder wrote.

    ``most_apart`` is the number of runs that :meth:`run_apart` should get at most: threads for which it pays
    that each takes a share of a batch; 1 if it does not pay.

    Args:
        path: the ONNX file.
        intra_op_threads: number of threads; 0 for one per core.
        profile: prefix of the file with the time of each operator, which :meth:`profiled` writes.
    """

    notice, broken = "", False

    def __init__(self, path: Path, intra_op_threads: int = 0, profile: Path | None = None):
        if not path.exists():
            raise FileNotFoundError(f"{path} is missing; build it with 'tritone-build models'")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = intra_op_threads
        options.log_severity_level = 4  # the sender of a bad request gets the error; it is no fault to log
        # Threads spin between the operators of a run, not after it: idle they would take the cores
        # from the server that feeds them.
        options.add_session_config_entry("session.force_spinning_stop", "1")
        # Lengths differ from request to request: planned buffers and kept ones would pile up
        # (20 s of nanocodec: 850 MB at the peak and after it, against 460 MB and 70 MB).
        options.enable_mem_pattern = False
        if profile is not None:
            options.enable_profiling, options.profile_file_prefix = True, str(profile)
        if any(path.parent.glob("*.data")):
            # Weights in files of their own are mapped, and are in memory once for all models that link the
            # file (see tritone_build/weights.py). Packed for products of several rows they would be copies.
            options.add_session_config_entry("session.disable_prepacking", "1")
        self._keeping, self._returning = onnxruntime.RunOptions(), onnxruntime.RunOptions()
        self._returning.add_run_config_entry("memory.enable_memory_arena_shrinkage", "cpu:0")
        self._runs = 0
        self._session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        _give_back_memory()
        self._shapes = {output.name: output.shape for output in self._session.get_outputs()}
        self.outputs: Sequence[str] = list(self._shapes)
        optional = self._session.get_overridable_initializers()
        self.inputs: Sequence[str] = [each.name for each in (*self._session.get_inputs(), *optional)]
        self.metadata: Mapping[str, str] = self._session.get_modelmeta().custom_metadata_map
        pays = float(self.metadata.get("flop_per_weight_byte", "0")) >= PAYS_FROM
        self.most_apart = (intra_op_threads or _cores()) if pays else 1

    def profiled(self) -> Path:
        """End profiling; the file with the time of each operator."""
        return Path(self._session.end_profiling())

    def empty(self, output: str) -> NDArray[np.generic]:
        """One row of an output without frames: axes of variable length have length 0."""
        shape = [size if isinstance(size, int) else 0 for size in self._shapes[output][1:]]
        return np.zeros((1, *shape), np.int64 if output == "tokens" else np.float32)

    def memory(self, count: int, free: FreeSlots | None = None) -> HostSlots:
        """Memory for the state of ``count`` live streams; ``free`` hands out their slots."""
        slots = ApartSlots if self.most_apart > 1 else HostSlots
        return slots(self, state_tensors(self.metadata), count, free)

    def run(
        self,
        inputs: Mapping[str, NDArray[np.generic]],
        outputs: Sequence[str] = (),
        keep_memory: bool = False,
    ) -> list[NDArray[np.generic]]:
        """Run the model; the named outputs, or all outputs in the model's order.

        Args:
            inputs: arrays by name; inputs left out have the model's defaults.
            outputs: names of outputs.
            keep_memory: keep the working memory for the next run; for short runs in quick succession.

        Raises:
            BadInputError: the input breaks a rule of the model; the message is the rule.
        """
        began_s = time.monotonic()
        with _reports_rules():
            results: list[NDArray[np.generic]] = self._session.run(
                outputs or self.outputs, dict(inputs), self._options(keep_memory)
            )
        self._return_memory(began_s, keep_memory)
        return results

    def run_apart(
        self, inputs: Sequence[Mapping[str, NDArray[np.generic]]], keep_memory: bool = False
    ) -> list[list[NDArray[np.generic]]]:
        """Run the model on several inputs at the same time; all outputs of each.

        Args:
            inputs: arrays by name for each run; the first run, in this thread, should be the longest.
            keep_memory: as of :meth:`run`.

        Raises:
            Exception: a run failed; all are over by then.
        """
        first, *others = inputs
        started: list[BackgroundRun] = []
        try:
            if not self._started(started, others, self._options(keep_memory)):
                return [self.run(each, keep_memory=keep_memory) for each in inputs]
            results = [self.run(first, keep_memory=keep_memory)]
        finally:
            finished(started)
        with _reports_rules():
            return [*results, *(run.results() for run in started)]

    def _started(
        self,
        started: list[BackgroundRun],
        inputs: Sequence[Mapping[str, NDArray[np.generic]]],
        options: onnxruntime.RunOptions,
    ) -> bool:
        """Start runs and append them to ``started``; False if ONNX Runtime has no threads for them.

        It has none where it counts one core, as where that core has two hyper-threads.
        """
        try:
            for each in inputs:
                started.append(BackgroundRun(self._session, self.outputs, each, options))
        except InvalidArgument:
            self.most_apart = 1
        return bool(started)

    def _options(self, keep_memory: bool) -> onnxruntime.RunOptions:
        return self._keeping if keep_memory else self._returning

    def _return_memory(self, began_s: float, keep_memory: bool) -> None:
        if not keep_memory:
            self._runs += 1
            if self._runs % _MANY_RUNS == 0 or time.monotonic() - began_s > _LONG_RUN_S:
                _give_back_memory()


@contextmanager
def _reports_rules() -> Iterator[None]:
    """Raise BadInputError with the rule that the input breaks."""
    try:
        yield
    except Exception as error:
        broken = _RULE.search(str(error))
        if broken is None:
            raise
        raise BadInputError(broken["rule"]) from error


def _cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _give_back_memory() -> None:
    """Return freed memory to the system: glibc keeps it (116 MB after lfsc's vocoder was loaded)."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
