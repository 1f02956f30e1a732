"""Rows of a batch that run apart: their answers, their errors, and interrupts."""

import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from helpers.summing import step, summing

from tritone_runtime.errors import StepError
from tritone_runtime.executors.apart import PAYS_FROM, ApartSlots, BackgroundRun, finished, shares
from tritone_runtime.executors.onnx_runtime import OnnxExecutor
from tritone_runtime.fidelity import snr_db
from tritone_runtime.streams.events import EventLog
from tritone_runtime.streams.scheduler import Limits, Step, StreamScheduler

STREAMS = 8


def summing_apart(folder: Path, threads: int, flop_per_weight_byte: float = PAYS_FROM) -> OnnxExecutor:
    """The summing model, which says how much a row computes with each byte of weights."""
    summing(folder)
    model = onnx.load(folder / "model.onnx")
    entry = model.metadata_props.add()
    entry.key, entry.value = "flop_per_weight_byte", str(flop_per_weight_byte)
    onnx.save(model, folder / "model.onnx")
    return OnnxExecutor(folder / "model.onnx", threads)


def scheduler(executor: OnnxExecutor) -> StreamScheduler:
    return StreamScheduler(executor, "tokens", "audio", Limits(STREAMS, idle_s=3600), EventLog(""))


def sums(answers: list[Any]) -> list[Any]:
    return [answer if isinstance(answer, Exception) else answer[0].tolist() for answer in answers]


@pytest.mark.parametrize("rows", range(1, 10))
@pytest.mark.parametrize("most", [1, 2, 3, 16])
def test_shares_cover_all_rows_in_order_and_the_first_is_the_largest(rows: int, most: int) -> None:
    parts = shares(rows, most)
    sizes = [part.stop - part.start for part in parts]
    assert [row for part in parts for row in range(part.start, part.stop)] == list(range(rows))
    assert len(parts) == min(rows, most)
    assert sizes[0] == max(sizes)
    assert max(sizes) - min(sizes) <= 1


@pytest.mark.parametrize("threads", [2, 3, 5])
def test_streams_that_run_apart_keep_their_own_past(tmp_path: Path, threads: int) -> None:
    executor = summing_apart(tmp_path, threads)
    assert executor.most_apart == threads
    assert isinstance(executor.memory(1), ApartSlots)
    streams = scheduler(executor)
    for number in range(1, 4):
        steps = [step(stream, [stream, 1], start=number == 1) for stream in range(STREAMS)]
        assert sums(streams.run(steps)) == [
            [number * (n + 1) - 1, number * (n + 1)] if n else [number - 1, number] for n in range(STREAMS)
        ]


def test_a_bad_row_leaves_all_shares_as_they_were(tmp_path: Path) -> None:
    streams = scheduler(summing_apart(tmp_path, 2))
    streams.run([step(stream, [stream], start=True) for stream in range(5)])
    answers = sums(streams.run([step(stream, [-1 if stream == 4 else 1]) for stream in range(5)]))
    assert answers[:4] == [[1], [2], [3], [4]]
    assert str(answers[4]) == "tokens must not be negative; the stream is as it was before"
    assert sums(streams.run([step(4, [1])])) == [[5]]


@pytest.mark.parametrize(("threads", "flop_per_weight_byte"), [(1, PAYS_FROM), (2, PAYS_FROM - 0.1)])
def test_a_batch_stays_whole_where_running_apart_does_not_pay(
    tmp_path: Path, threads: int, flop_per_weight_byte: float
) -> None:
    executor = summing_apart(tmp_path, threads, flop_per_weight_byte)
    assert executor.most_apart == 1
    assert not isinstance(executor.memory(1), ApartSlots)


def test_a_model_without_the_figure_runs_batches_whole(tmp_path: Path) -> None:
    assert summing(tmp_path).most_apart == 1


def test_shares_run_in_turn_where_the_library_has_one_thread(tmp_path: Path) -> None:
    executor = summing_apart(tmp_path, 1)
    executor.most_apart = 2  # as with threads=0 on one core with two hyper-threads
    streams = scheduler(executor)
    assert sums(streams.run([step(stream, [stream], start=True) for stream in range(3)])) == [[0], [1], [2]]
    assert executor.most_apart == 1
    assert sums(streams.run([step(stream, [1]) for stream in range(3)])) == [[1], [2], [3]]


def test_a_run_that_fails_in_a_thread_fails_the_batch_and_changes_no_stream(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    streams = scheduler(summing_apart(tmp_path, 2))
    streams.run([step(stream, [stream], start=True) for stream in range(2)])
    begin = BackgroundRun.__init__

    def broken(
        self: BackgroundRun, session: Any, outputs: Any, inputs: Mapping[str, Any], options: Any
    ) -> None:
        begin(self, session, outputs, dict(inputs) | {"slot": np.array([99])}, options)

    with monkeypatch.context() as patched:
        patched.setattr(BackgroundRun, "__init__", broken)
        answers = streams.run([step(stream, [1]) for stream in range(2)])
    assert all(isinstance(answer, StepError) for answer in answers)
    assert "indices element out of data bounds" in str(answers[1])
    assert sums(streams.run([step(stream, [1]) for stream in range(2)])) == [[1], [2]]


class Interrupted(BackgroundRun):
    """A run whose first two waits are interrupted."""

    def __init__(self, ended: threading.Event):
        self._over, self._interrupts = ended, 2

    def wait(self) -> None:
        if self._interrupts:
            self._interrupts -= 1
            raise KeyboardInterrupt
        super().wait()


def test_an_interrupt_waits_until_all_runs_are_over() -> None:
    ended = threading.Event()
    timer = threading.Timer(0.05, ended.set)
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        finished([Interrupted(ended)])
    assert ended.is_set()
    timer.join()


@pytest.mark.parametrize("model", ["small_nanocodec_decode_stream", "small_mimi_decode_stream"])
def test_real_streams_are_the_same_apart_and_together(model: str, repository: Path) -> None:
    tokens = np.random.default_rng(0).integers(0, 128, (STREAMS, 4, 24))
    answers: list[list[Any]] = []
    for most in (1, 3):
        executor = OnnxExecutor(repository / model / "1" / "model.onnx", 3)
        executor.most_apart = most
        streams = scheduler(executor)
        answers.append([])
        for number in range(24):
            rows = range(1 + number % STREAMS) if number else range(STREAMS)  # batches of every size
            frames = [{"tokens": tokens[row : row + 1, :, number : number + 1]} for row in rows]
            answers[-1] += streams.run(
                [Step(row, frame, start=not number, end=False) for row, frame in enumerate(frames)]
            )
    together, apart = (np.concatenate([answer.ravel() for answer in each]) for each in answers)
    assert snr_db(together, apart) > 115


def test_the_session_says_what_run_apart_relies_on(tmp_path: Path) -> None:
    """A session of one thread refuses to run in the background, with this error."""
    executor = summing_apart(tmp_path, 1)
    inputs = {"tokens": np.zeros((1, 1, 1), np.int64), "slot": np.array([0])}
    inputs["past_total"] = np.zeros((1, 1), np.float32)
    with pytest.raises(onnxruntime.capi.onnxruntime_pybind11_state.InvalidArgument, match="RunAsync"):
        BackgroundRun(executor._session, executor.outputs, inputs, onnxruntime.RunOptions())
