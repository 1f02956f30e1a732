"""Programs of PyTorch: the same sound as ONNX Runtime's, and streams whose state stays on the device."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from tritone_build.codecs.base import Codec
from tritone_build.graphs.precision import in_fp16
from tritone_build.graphs.program import write_program
from tritone_build.graphs.roles import Role, roles
from tritone_runtime.errors import BadInputError, StepError
from tritone_runtime.executors.cuda_graphs import Replayed
from tritone_runtime.executors.device_slots import DeviceSlots
from tritone_runtime.executors.interface import Executor
from tritone_runtime.executors.onnx_runtime import OnnxExecutor
from tritone_runtime.executors.state import state_tensors
from tritone_runtime.executors.torch import TorchExecutor
from tritone_runtime.fidelity import snr_db
from tritone_runtime.streams.events import EventLog
from tritone_runtime.streams.scheduler import Limits, Step, StreamScheduler
from tritone_runtime.streams.slots import HostSlots

STREAMED = [
    "small_nanocodec_decode_stream",
    "small_mimi_decode_stream",
    "small_moss_decode_stream",
    "small_moss_nano_decode_stream",
    "small_mimi_encode_stream",
    "small_moss_nano_encode_stream",
]
WHOLE = [
    "small_nanocodec_dequantize",
    "small_nanocodec_vocoder",
    "small_lfsc_encode",
    "small_moss_nano_vocoder",
    "small_moss_nano_encode",
]
STREAMS = 8


@dataclass
class Programs:
    """Programs by model, traced at their first use."""

    codecs: dict[str, Codec]
    folder: Path

    def path(self, model: str) -> Path:
        path = self.folder / model / "1" / "model.pt2"
        if not path.exists():
            write_program(self.role(model), path)
        return path

    def role(self, model: str) -> Role:
        name = max((each for each in self.codecs if model.startswith(f"{each}_")), key=len)
        parts = {role.name: role for role in roles(self.codecs[name], "cuda")}
        return parts[model.removeprefix(f"{name}_")]

    def opened(self, model: str) -> TorchExecutor:
        return TorchExecutor(self.path(model), "cpu", lambda _: None)


@pytest.fixture(scope="module")
def programs(codecs: dict[str, Codec], tmp_path_factory: pytest.TempPathFactory) -> Programs:
    return Programs(codecs, tmp_path_factory.mktemp("programs"))


class Random:
    """Random steps of eight streams: starts and ends at any time, single frames and more, some invalid."""

    def __init__(self, executor: Executor, entries: int = 128):
        self._draw, self._entries = np.random.default_rng(0), entries
        self._data, self._multiple = executor.inputs[0], int(executor.metadata["multiple"])
        # A program of an encoder may lack the option of fewer codebooks, which has a default.
        self._rows = json.loads(executor.metadata["frame"])[:-1]
        self._live: set[int] = set()

    def batches(self, count: int) -> Iterator[list[Step]]:
        for number in range(count):
            frames = int(self._draw.choice([1, 1, 1, 2, 5, 24]))
            chosen = [each for each in range(STREAMS) if self._draw.random() < (0.2 + number / count)]
            if chosen:
                yield [self._step(stream, frames) for stream in chosen]

    def _step(self, stream: int, frames: int) -> Step:
        start = stream not in self._live or self._draw.random() < 0.1
        end, bad = self._draw.random() < 0.1, self._draw.random() < 0.15
        self._live = self._live - {stream} if end or (bad and start) else self._live | {stream}
        return Step(stream, {self._data: self._array(frames, bad)}, start, bool(end))

    def _array(self, frames: int, bad: bool) -> NDArray[Any]:
        if self._data == "tokens":
            tokens = self._draw.integers(0, self._entries, (1, *self._rows, frames))
            tokens[0, -1, frames // 2] = [-1, 1 << 40][frames % 2] if bad else 0
            return tokens
        shape = (1, *self._rows, frames * self._multiple)
        audio = self._draw.standard_normal(shape).astype(np.float32)
        audio.flat[-1] = np.nan if bad else 0.0
        return audio


def scheduler(executor: Executor, slots: Any = None) -> StreamScheduler:
    made = StreamScheduler(
        executor, executor.inputs[0], executor.outputs[0], Limits(STREAMS, 1e6), EventLog("")
    )
    made._slots = slots or made._slots
    return made


def both(first: StreamScheduler, other: StreamScheduler, count: int = 36) -> list[tuple[Any, Any]]:
    """Answers of the same random steps to both; errors must be the same, and are left out."""
    answers, failures = [], 0
    for steps in Random(other._executor).batches(count):
        for mine, theirs in zip(first.run(steps), other.run(steps), strict=True):
            if isinstance(mine, Exception):
                assert str(mine).partition(";")[0] == str(theirs).partition(";")[0]
                failures += 1
            else:
                assert not isinstance(theirs, Exception), theirs
                answers.append((mine, theirs))
    assert len(answers) > count
    assert failures or count < 36
    return answers


def joined(pieces: list[Any]) -> NDArray[Any]:
    return np.concatenate([piece.ravel() for piece in pieces])


@pytest.mark.parametrize("model", STREAMED)
def test_steps_are_those_of_onnx_runtime(model: str, repository: Path, programs: Programs) -> None:
    onnx = OnnxExecutor(repository / model / "1" / "model.onnx")
    answers = both(scheduler(onnx), scheduler(programs.opened(model)))
    if model.endswith("encode_stream"):  # ONNX Runtime's returns the default number of codebooks
        answers = [(mine, theirs[:, : mine.shape[1]]) for mine, theirs in answers]
        assert all(np.array_equal(mine, theirs) for mine, theirs in answers)
    else:
        assert snr_db(*(joined(list(side)) for side in zip(*answers, strict=True))) >= 120


@pytest.mark.parametrize("model", STREAMED)
def test_state_that_stays_on_the_device_is_the_same_state_bit_for_bit(model: str, programs: Programs) -> None:
    executor = programs.opened(model)
    tensors = state_tensors(executor.metadata)
    here, there = HostSlots(executor, tensors, STREAMS), DeviceSlots(executor, tensors, STREAMS)
    for mine, theirs in both(scheduler(executor, here), scheduler(executor, there)):
        np.testing.assert_array_equal(mine, theirs)
    for arena in there._arenas:
        mine = here.pasts[f"past_{arena._tensor.name}"]
        np.testing.assert_array_equal(mine, arena.rows[:STREAMS].numpy())


@pytest.mark.parametrize("model", STREAMED[1:2])
def test_rows_that_fill_a_batch_touch_no_stream(model: str, programs: Programs) -> None:
    """A GPU runs batches of a power of two, of which some rows belong to no stream."""
    executor = programs.opened(model)
    tensors = state_tensors(executor.metadata)
    filled = scheduler(executor, DeviceSlots(executor, tensors, STREAMS, pads=True))
    answers = both(scheduler(executor), filled)
    assert snr_db(*(joined(list(side)) for side in zip(*answers, strict=True))) >= 120


def test_fp16_passes_the_gate(codecs: dict[str, Codec], programs: Programs, tmp_path: Path) -> None:
    model = "small_nanocodec_decode_stream"
    half = Programs({"small_nanocodec": in_fp16(codecs["small_nanocodec"])}, tmp_path)
    answers = both(scheduler(programs.opened(model)), scheduler(half.opened(model)), count=8)
    assert snr_db(*(joined(list(side)) for side in zip(*answers, strict=True))) >= 50


@pytest.mark.parametrize("model", WHOLE)
def test_whole_inputs_are_those_of_onnx_runtime(model: str, repository: Path, programs: Programs) -> None:
    role, executor = programs.role(model), programs.opened(model)
    shape = list(role.example[0].shape)
    shape[-1] = 11 if model.endswith("vocoder") else shape[-1]  # between two lengths that have graphs
    draw = np.random.default_rng(0)
    data = draw.integers(0, 100, shape) if model.endswith("dequantize") else draw.standard_normal(shape)
    arrays = {
        executor.inputs[0]: data.astype(np.int64 if model.endswith("dequantize") else np.float32),
        executor.inputs[1]: np.array([[shape[-1]]] * shape[0]),
    }
    onnx = OnnxExecutor(repository / model / "1" / "model.onnx")
    for mine, theirs in zip(executor.run(arrays), onnx.run(arrays), strict=True):
        assert mine.shape == theirs.shape
        if theirs.dtype == np.int64:
            np.testing.assert_array_equal(mine, theirs)
        else:
            assert snr_db(theirs, mine) >= 120


@pytest.mark.parametrize(("tokens", "length"), [(4032, 5), (-1, 5), (1 << 40, 5), (0, 6), (0, 0)], ids=str)
def test_a_broken_rule_has_the_words_of_onnx_runtime(
    tokens: int, length: int, repository: Path, programs: Programs
) -> None:
    model = "small_nanocodec_dequantize"
    arrays = {"tokens": np.zeros((2, 4, 5), np.int64), "tokens_len": np.array([[5], [length]])}
    arrays["tokens"][1, 2, 3] = tokens
    with pytest.raises(BadInputError) as theirs:
        OnnxExecutor(repository / model / "1" / "model.onnx").run(arrays)
    with pytest.raises(BadInputError) as mine:
        programs.opened(model).run(arrays)
    assert str(mine.value) == str(theirs.value)


def test_a_step_without_memory_fails_alone(programs: Programs, monkeypatch: pytest.MonkeyPatch) -> None:
    executor = programs.opened("small_nanocodec_decode_stream")
    streams, tokens = scheduler(executor), np.random.default_rng(0).integers(0, 128, (2, 1, 4, 6))
    whole: list[Any] = [streams.run([Step(n, {"tokens": tokens[n]}, True, True)])[0] for n in range(2)]

    def step(at: int, *numbers: int) -> list[Any]:
        piece = slice(3 * at, 3 * at + 3)
        return streams.run([Step(n, {"tokens": tokens[n, :, :, piece]}, at == 0, False) for n in numbers])

    first = step(0, 0, 1)
    with monkeypatch.context() as full:

        def without_memory(*_: torch.Tensor) -> None:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB.")

        full.setattr(executor, "program", without_memory)
        (failed,) = step(1, 0)
    assert isinstance(failed, StepError)
    assert "send fewer frames at once" in str(failed)
    assert "as it was before" in str(failed)
    for row, second in enumerate(step(1, 0, 1)):
        assert snr_db(whole[row], np.concatenate([first[row], second], 1)) >= 120


def test_a_gpu_that_has_failed_is_told(programs: Programs, monkeypatch: pytest.MonkeyPatch) -> None:
    executor = programs.opened("small_nanocodec_decode_stream")
    streams, tokens = scheduler(executor), np.zeros((1, 4, 1), np.int64)

    def failing(*_: torch.Tensor) -> None:
        raise torch.AcceleratorError("CUDA error: an illegal memory access was encountered")

    assert not executor.broken
    monkeypatch.setattr(executor, "program", failing)
    (answer,) = streams.run([Step(1, {"tokens": tokens}, True, False)])
    assert "the GPU has failed" in str(answer)
    assert "restart it" in str(answer)
    assert executor.broken


def test_without_cuda_graphs_it_runs_as_it_is_and_says_so_once() -> None:
    """PyTorch for a CPU cannot record graphs, so recording really fails."""
    lines: list[str] = []
    queue: Any = object()
    doubled = Replayed(lambda x: [2 * x], queue, lines.append)
    for _ in range(2):
        doubled.record([torch.ones(3)])
        assert doubled([torch.ones(3)])[0].tolist() == [2, 2, 2]
    (line,) = lines
    assert line.startswith("runs without CUDA graphs, which is slower: ")
