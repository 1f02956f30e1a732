"""The scheduler: admission, rules for steps, and the fate of a stream after an error."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.summing import Clock, step, summing
from numpy.typing import NDArray

from tritone_runtime.errors import BadInputError, FullError
from tritone_runtime.executors.onnx_runtime import OnnxExecutor
from tritone_runtime.executors.state import StateTensor
from tritone_runtime.streams.events import EventLog
from tritone_runtime.streams.scheduler import Limits, Step, StreamScheduler
from tritone_runtime.streams.slots import HostSlots, Slots


@pytest.fixture
def runner(tmp_path: Path) -> OnnxExecutor:
    return summing(tmp_path)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def streams(runner: OnnxExecutor, clock: Clock) -> StreamScheduler:
    return StreamScheduler(runner, "tokens", "audio", Limits(streams=2, idle_s=5), EventLog("small"), clock)


def sums(answers: list[Any]) -> list[Any]:
    return [str(a) if isinstance(a, Exception) else a[0].tolist() for a in answers]


def test_streams_in_one_batch_keep_their_own_past(streams: StreamScheduler) -> None:
    assert sums(streams.run([step(1, [1, 2], start=True)])) == [[1, 3]]
    assert sums(streams.run([step(2, [5, 5], start=True), step(1, [1, 1])])) == [[5, 10], [4, 5]]
    assert sums(streams.run([step(1, [7]), step(2, [1])])) == [[12], [11]]
    assert streams.counters.batches[2][0] == 2
    assert streams.live == 2


def test_requests_of_different_length_are_answered_in_order(streams: StreamScheduler) -> None:
    answers = streams.run([step(1, [1, 2, 3], start=True), step(2, [4], start=True)])
    assert sums(answers) == [[1, 3, 6], [4]]


def test_a_stream_ends_with_end_and_its_room_is_zero_again(streams: StreamScheduler) -> None:
    streams.run([step(1, [9], start=True), step(2, [9], start=True)])
    assert sums(streams.run([step(1, [1], end=True)])) == [[10]]
    assert streams.live == 1
    assert sums(streams.run([step(3, [1], start=True)])) == [[1]]
    assert sums(streams.run([step(2, [], end=True)])) == [[]], "END may come without data"
    assert streams.live == 1


def test_a_request_that_could_not_be_read_ends_its_stream_where_it_is_the_last(
    streams: StreamScheduler,
) -> None:
    streams.run([step(1, [9], start=True)])
    bad = BadInputError("too much")
    (still,) = streams.run([Step(1, {}, start=False, end=False, problem=bad)])
    assert str(still) == "too much; the stream is as it was before"
    assert sums(streams.run([step(1, [1])])) == [[10]]
    (last,) = streams.run([Step(1, {}, start=False, end=True, problem=bad)])
    assert str(last) == "too much; the stream has ended"
    (first,) = streams.run([Step(2, {}, start=True, end=False, problem=bad)])
    assert str(first) == "too much"
    assert streams.live == 0


def test_a_start_on_a_live_stream_begins_afresh(streams: StreamScheduler) -> None:
    streams.run([step(1, [9], start=True)])
    assert sums(streams.run([step(1, [1], start=True)])) == [[1]]
    assert streams.live == 1


def test_a_full_server_refuses_answer_now_and_counts_it(streams: StreamScheduler) -> None:
    streams.run([step(1, [1], start=True), step(2, [1], start=True)])
    refused, good = streams.run([step(3, [1], start=True), step(1, [1])])
    assert isinstance(refused, FullError)
    assert "full: 2 of 2 streams are live" in str(refused)
    assert sums([good]) == [[2]]
    assert streams.counters.refused == 1
    (unknown,) = streams.run([step(3, [1])])
    assert isinstance(unknown, BadInputError)


def test_rejected_requests_are_answered_before_the_batch_runs(streams: StreamScheduler) -> None:
    streams.run([step(1, [9], start=True), step(2, [9], start=True)])
    early: list[tuple[int, str, int]] = []

    def answer_now(row: int, answer: Any) -> None:
        early.append((row, str(answer), sum(count for count, _ in streams.counters.batches.values())))

    asked = [step(3, [1], start=True), step(1, [1]), step(7, [1]), step(2, [1], end=True)]
    answers = streams.run(asked, answer_now)
    assert [row for row, _, _ in early] == [0, 2]
    assert [text for _, text, _ in early] == [str(answers[0]), str(answers[2])]
    assert [runs for _, _, runs in early] == [1, 1], "the run that began both"
    assert sums(answers)[1::2] == [[10], [10]]


def test_idle_streams_expire_and_leave_room(streams: StreamScheduler, clock: Clock) -> None:
    streams.run([step(1, [1], start=True), step(2, [1], start=True)])
    clock.now = 4
    streams.run([step(2, [1])])
    clock.now = 6
    streams.expire()
    assert (streams.live, streams.counters.expired) == (1, 1)
    (late,) = streams.run([step(1, [1])])
    assert "stream 1 is not live" in str(late)
    assert sums(streams.run([step(3, [1], start=True), step(2, [1])])) == [[1], [3]]


def test_a_bad_step_leaves_its_stream_as_it_was_and_says_so(streams: StreamScheduler) -> None:
    streams.run([step(1, [4], start=True), step(2, [4], start=True)])
    bad, good = streams.run([step(1, [-1]), step(2, [1])])
    assert str(bad) == "tokens must not be negative; the stream is as it was before"
    assert sums([good]) == [[5]]
    assert sums(streams.run([step(1, [1])])) == [[5]]
    assert sums(streams.run([step(1, [])])) == [
        "tokens must have at least 1 frame, got 0; the stream is as it was before"
    ]
    assert sums(streams.run([step(1, [-1], end=True)])) == [
        "tokens must not be negative; the stream has ended"
    ]
    assert sums(streams.run([step(3, [-1], start=True)])) == [
        "tokens must not be negative; the stream did not start"
    ]
    assert streams.live == 1


def test_the_form_of_a_stream_is_fixed_by_its_first_request(streams: StreamScheduler) -> None:
    streams.run([step(1, [1], start=True)])
    two_books = Step(1, {"tokens": np.zeros((1, 2, 1), np.int64)}, start=False, end=False)
    (refused,) = streams.run([two_books])
    assert "it began with tokens [1, steps], this one has tokens [2, steps]" in str(refused)
    assert sums(streams.run([step(1, [1])])) == [[2]]


def test_a_model_that_fails_says_what_became_of_the_stream(streams: StreamScheduler) -> None:
    streams.run([step(1, [1], start=True)])
    wrong = Step(1, {"tokens": np.zeros((1, 1, 1), np.float32)}, start=False, end=False)
    (failed,) = streams.run([wrong])
    assert "the model failed" in str(failed)
    assert "is as it was before" in str(failed)
    assert sums(streams.run([step(1, [1])])) == [[2]]


def ring(count: int = 2) -> Slots:
    return Slots([StateTensor("keys", (2, 4), np.dtype(np.float32), ring_axis=1, places="at_0")], count)


def written(slots: Slots, slot: int, first: int, steps: int) -> NDArray[Any]:
    values = np.arange(first, first + steps, dtype=np.float32)
    outputs: dict[str, NDArray[Any]] = {
        "next_keys": np.stack([values, -values])[None],
        "at_0": (np.arange(first, first + steps) % 4)[None],
    }
    slots.write(slot, 0, outputs)
    kept: NDArray[Any] = slots.pasts["past_keys"][slot]
    return kept


def test_a_ring_keeps_the_last_steps_at_their_places() -> None:
    slots = ring()
    slot = slots.take()
    assert slot is not None
    assert written(slots, slot, 0, 3)[0].tolist() == [0, 1, 2, 0]
    assert written(slots, slot, 3, 2)[0].tolist() == [4, 1, 2, 3]
    assert written(slots, slot, 5, 11)[1].tolist() == [-12, -13, -14, -15], "more steps than the ring holds"


@pytest.mark.parametrize("returns_memory", [True, False], ids=["linux", "other systems"])
def test_cleared_rows_are_zero_and_their_neighbours_stay(
    returns_memory: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tritone_runtime.streams.slots._RETURNS_MEMORY", returns_memory)
    slots = Slots([StateTensor("tails", (3000,), np.dtype(np.float32))], 3)
    rows = slots.pasts["past_tails"]
    rows[:] = 1
    slots.clear(1)
    assert not rows[1].any()
    assert rows[0].all()
    assert rows[2].all()


def test_slots_run_out_and_come_back() -> None:
    slots = ring(1)
    slot = slots.take()
    assert slots.take() is None
    assert slot is not None
    slots.give_back(slot)
    assert slots.take() == slot


def test_only_small_steps_hold_on_to_their_working_memory(
    streams: StreamScheduler, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept: list[bool] = []
    run = HostSlots.run

    def noted(self: HostSlots, given: Any, keep_memory: bool) -> dict[str, Any]:
        kept.append(keep_memory)
        return run(self, given, keep_memory)

    monkeypatch.setattr(HostSlots, "run", noted)
    streams.run([step(1, [1] * 8, start=True), step(2, [1] * 8, start=True)])
    streams.run([step(1, [1] * 9), step(2, [1] * 9)])
    streams.run([step(1, [1] * 17)])
    assert kept == [True, False, False]
