"""CUDA graphs: the kernels of a run, recorded once for each shape and replayed in one call.

A step of one frame has hundreds of kernels of some microseconds; launched one by one from Python they take
ten times as long as they run.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch import Tensor

__all__ = ["Replayed"]

_MOST_GRAPHS, _WARM_UPS = 64, 2
Function: TypeAlias = Callable[..., Sequence[Tensor]]


@dataclass(frozen=True)
class _Graph:
    graph: torch.cuda.CUDAGraph
    inputs: Sequence[Tensor]
    outputs: Sequence[Tensor]


class Replayed:
    """A function of tensors on a GPU, as one CUDA graph for each shape of inputs that was recorded.

    Outputs are valid until the next call. All graphs share their working memory, since one runs at a time.

    Args:
        function: takes and returns tensors; it must not wait for the device.
        queue: the CUDA stream of all calls; None on a CPU, where the function is called as it is.
        log: called with one line if recording fails; the function is then called as it is.
    """

    def __init__(self, function: Function, queue: torch.cuda.Stream | None, log: Callable[[str], None]):
        self._function, self._queue, self._log = function, queue, log
        self._graphs: dict[tuple[torch.Size, ...], _Graph] = {}
        self._pool: Any = None

    def __call__(self, inputs: Sequence[Tensor]) -> Sequence[Tensor]:
        """The function's outputs."""
        graph = self._graphs.get(_shapes(inputs))
        if graph is None:
            return self._function(*inputs)
        for held, given in zip(graph.inputs, inputs, strict=True):
            held.copy_(given)
        graph.graph.replay()
        return graph.outputs

    def is_ready(self, inputs: Sequence[Tensor]) -> bool:
        """Whether nothing is to be recorded for these shapes."""
        return self._queue is None or _shapes(inputs) in self._graphs or len(self._graphs) == _MOST_GRAPHS

    def record(self, inputs: Sequence[Tensor]) -> None:
        """Record the graph for these shapes, unless that was done; it calls the function with the inputs.

        Raises:
            torch.OutOfMemoryError: the GPU has too little memory.
        """
        if self.is_ready(inputs):
            return
        try:
            self._graphs[_shapes(inputs)] = self._recorded(inputs)
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:
            self._queue = None
            self._log(f"runs without CUDA graphs, which is slower: {str(error).splitlines()[0]}")

    def _recorded(self, inputs: Sequence[Tensor]) -> _Graph:
        """Record a run; runs before it let the libraries choose their kernels."""
        held = [each.clone() for each in inputs]
        graph = torch.cuda.CUDAGraph()
        self._pool = self._pool or torch.cuda.graph_pool_handle()
        with torch.backends.cudnn.flags(enabled=True, benchmark=True, allow_tf32=False):
            for _ in range(_WARM_UPS):
                self._function(*held)
        # Other threads may allocate meanwhile, which is an error in the default mode.
        with torch.cuda.graph(graph, pool=self._pool, stream=self._queue, capture_error_mode="thread_local"):
            outputs = self._function(*held)
        return _Graph(graph, held, outputs)


def _shapes(inputs: Sequence[Tensor]) -> tuple[torch.Size, ...]:
    return tuple(each.shape for each in inputs)
