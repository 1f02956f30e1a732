"""One ONNX model on ONNX Runtime: named arrays in, named arrays out. No server package is imported."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import onnxruntime
from numpy.typing import NDArray

__all__ = ["BadInputError", "Runner"]

_RULE = re.compile(r"Name:'(?P<rule>[^']* must [^']*)'")


class BadInputError(ValueError):
    """The input breaks a rule of the model; the message is the rule."""


class Runner:
    """A loaded model. ``outputs`` are its output names in order."""

    def __init__(self, path: Path, intra_op_threads: int = 0):
        if not path.exists():
            raise FileNotFoundError(f"{path} is missing; build it with 'make models'")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = intra_op_threads
        options.log_severity_level = 4  # a refused request is reported to its sender, not logged as a fault
        # Threads spin between the operators of a run, not after it: idle they would take the cores
        # from the server that feeds them.
        options.add_session_config_entry("session.force_spinning_stop", "1")
        # Lengths differ from request to request: planned buffers and kept ones would pile up
        # (20 s of nanocodec: 850 MB at the peak and after it, against 460 MB and 70 MB).
        options.enable_mem_pattern = False
        self._run_options = onnxruntime.RunOptions()
        self._run_options.add_run_config_entry("memory.enable_memory_arena_shrinkage", "cpu:0")
        self._session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        self.outputs: Sequence[str] = [output.name for output in self._session.get_outputs()]

    def run(
        self, inputs: Mapping[str, NDArray[np.generic]], outputs: Sequence[str] = ()
    ) -> list[NDArray[np.generic]]:
        """Run once and return the outputs of these names, or all in the model's order.

        Raises:
            BadInputError: with the rule that the input breaks.
        """
        try:
            results: list[NDArray[np.generic]] = self._session.run(
                outputs or self.outputs, dict(inputs), self._run_options
            )
        except Exception as error:
            broken = _RULE.search(str(error))
            if broken is None:
                raise
            raise BadInputError(broken["rule"]) from error
        return results
