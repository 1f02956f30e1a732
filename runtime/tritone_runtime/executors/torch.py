"""One program of PyTorch on a GPU, or on a CPU for tests: named arrays in, named arrays out.

The program is a traced network (``torch.export``) whose weights are folded. It refuses inputs by value: rows
of a step by ``valid``, whole inputs by a last output that says which rules are kept.
"""

import json
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.export.passes import move_to_device_pass

from tritone_runtime.errors import BadInputError, DeviceError, StepError
from tritone_runtime.executors.cuda_graphs import Replayed
from tritone_runtime.executors.device_slots import DeviceSlots
from tritone_runtime.executors.state import state_tensors
from tritone_runtime.executors.tensorrt import with_engine
from tritone_runtime.manifests import PROGRAM_FACTS
from tritone_runtime.streams.slots import FreeSlots

__all__ = ["TorchExecutor"]

Array = NDArray[np.generic]


class TorchExecutor:
    """A loaded program; see :class:`tritone_runtime.executors.interface.Executor`.

    Args:
        path: the file that ``tritone-build models --target cuda`` wrote.
        device: ``cuda`` or ``auto`` for the first GPU, or ``cpu``.
        log: called with one line if CUDA graphs cannot be used.

    Raises:
        DeviceError: there is no GPU that PyTorch can use.
    """

    def __init__(self, path: Path, device: str, log: Callable[[str], None]):
        self.broken = False
        self.device = torch.device("cpu" if device == "cpu" else _gpu(path))
        facts, self._program = _loaded(path, self.device)
        if self.device.type == "cuda":
            self._program = with_engine(path.parent, facts, self._program, log)
        self.metadata: Mapping[str, str] = facts
        self.inputs: Sequence[str] = list(json.loads(facts["inputs"]))
        self._shapes: dict[str, list[int | str]] = json.loads(facts["outputs"])
        self.outputs: Sequence[str] = list(self._shapes)
        self._rules: list[str] = json.loads(facts["rules"])
        self._buckets: dict[str, list[int]] = json.loads(facts.get("buckets", "{}"))
        self._lock, self._log, self._name = threading.Lock(), log, path.parents[1].name
        self._queue = _queue(self.device)
        self._replayed = self.replayed(self._program)
        self.notice = f"device {self.device.type}: {_device_text(self.device)}"

    def empty(self, output: str) -> Array:
        """One row of an output without frames: axes of variable length have length 0."""
        shape = [size if isinstance(size, int) else 0 for size in self._shapes[output][1:]]
        return np.zeros((1, *shape), np.int64 if output == "tokens" else np.float32)

    def memory(self, count: int, free: FreeSlots | None = None) -> DeviceSlots:
        """Memory for the state of ``count`` live streams, on the device; ``free`` hands out their slots.

        Raises:
            DeviceError: the device has too little memory.
        """
        return DeviceSlots(self, state_tensors(self.metadata), count, free)

    def replayed(self, function: Callable[..., Sequence[Tensor]]) -> Replayed:
        """The function with CUDA graphs, if the device has them."""
        log, name = self._log, self._name
        return Replayed(function, self._queue, lambda line: log(f"{name}: {line}"))

    def program(self, *inputs: Tensor) -> Sequence[Tensor]:
        """The outputs for inputs in the model's order, and BOOL [R] if the model has rules."""
        outputs: Sequence[Tensor] = self._program(*inputs)
        return outputs

    def tensor(self, array: Array) -> Tensor:
        """A copy of an array on the device."""
        return torch.tensor(array, device=self.device)

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """A run of this model: one at a time, in a queue of its own on the GPU, without gradients.

        Convolutions in FP32 do not round to TF32, which PyTorch allows by default.

        Raises:
            StepError: the device has too little memory for this run, or has failed for good.
        """
        exact = torch.backends.cudnn.flags(enabled=True, allow_tf32=False)
        with self._lock, torch.inference_mode(), torch.cuda.stream(self._queue), exact:
            try:
                yield
            except torch.OutOfMemoryError as error:
                torch.cuda.empty_cache()
                raise StepError(
                    "the GPU has too little memory for this request; send fewer frames at once, or serve "
                    f"fewer models and streams ({str(error).partition('.')[0]})"
                ) from error
            except torch.AcceleratorError as error:
                self.broken = True
                raise StepError(
                    "the GPU has failed, and nothing runs on it in this process any more: restart it "
                    f"({str(error).splitlines()[0]})"
                ) from error

    def run(
        self, inputs: Mapping[str, Array], outputs: Sequence[str] = (), keep_memory: bool = False
    ) -> list[Array]:
        """Run the model; the named outputs, or all outputs in the model's order.

        Args:
            inputs: arrays by name.
            outputs: names of outputs.
            keep_memory: not used; PyTorch always keeps working memory on a GPU.

        Raises:
            BadInputError: the input breaks a rule of the model; the message is the rule.
            StepError: the device has too little memory for this run.
        """
        padded, share = self._padded(inputs)
        with self.at_work():
            given = [self.tensor(padded[name]) for name in self.inputs]
            if share:
                self._replayed.record(given)
            made = self._replayed(given)
            found = dict(zip(self.outputs, made, strict=False))
            if self._rules:
                self._refuse(made[-1])
            return [_cut(found[name], share).cpu().numpy() for name in outputs or self.outputs]

    def _padded(self, inputs: Mapping[str, Array]) -> tuple[Mapping[str, Array], tuple[int, int] | None]:
        """Inputs filled up to a length that has a CUDA graph, and their steps: sent, and filled up."""
        for name, buckets in self._buckets.items():
            steps = inputs[name].shape[-1]
            length = next((bucket for bucket in buckets if bucket >= steps), None)
            if length is not None:
                widths = [(0, 0)] * (inputs[name].ndim - 1) + [(0, length - steps)]
                return {**inputs, name: np.pad(inputs[name], widths)}, (steps, length)
        return inputs, None

    def _refuse(self, kept: Tensor) -> None:
        for rule, holds in zip(self._rules, kept.tolist(), strict=True):
            if not holds:
                raise BadInputError(rule)


def _cut(output: Tensor, share: tuple[int, int] | None) -> Tensor:
    """The part of an output that belongs to what was sent; lengths [B, 1] are whole."""
    if share is None or output.dtype == torch.int64:
        return output
    sent, padded = share
    return output[..., : output.shape[-1] // padded * sent]


def _queue(device: torch.device) -> torch.cuda.Stream | None:
    return torch.cuda.Stream(device) if device.type == "cuda" else None  # type: ignore[no-untyped-call]


def _device_text(device: torch.device) -> str:
    if device.type == "cpu":
        return "models for a GPU run on the CPU, which is slow"
    return f"models run on an {torch.cuda.get_device_name(device)}"


def _gpu(path: Path) -> str:
    try:
        torch.cuda.init()  # type: ignore[no-untyped-call]
    except (RuntimeError, AssertionError) as error:
        raise DeviceError(
            f"{path.parents[1]} was built for an NVIDIA GPU, and PyTorch {torch.__version__} finds none here "
            f"({str(error).splitlines()[0]}); install a driver and a PyTorch with CUDA, build the codec for "
            "the CPU with 'tritone-build models', or try it on the CPU with the device 'cpu', which is slow"
        ) from error
    return f"cuda:{torch.cuda.current_device()}"


def _loaded(path: Path, device: torch.device) -> tuple[dict[str, str], Any]:
    extra = {PROGRAM_FACTS: ""}
    program = torch.export.load(path, extra_files=extra)
    if device.type != "cpu":
        program = move_to_device_pass(program, str(device))
    module: Any = program.module(check_guards=False)
    # Tracing takes 1 for a special size, so its checks refuse the single frame that the program can run.
    module.validate_inputs = False
    return json.loads(extra[PROGRAM_FACTS]), module
