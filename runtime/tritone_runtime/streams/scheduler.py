"""Scheduler of one model's live streams: admits streams, batches their steps, and ends idle streams."""

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import inf
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from tritone_runtime.errors import BadInputError, FullError, StepError
from tritone_runtime.executors.interface import Executor
from tritone_runtime.streams.events import Counters, EventLog
from tritone_runtime.streams.limits import Limits
from tritone_runtime.streams.slots import FreeSlots

__all__ = ["Limits", "Step", "StreamScheduler"]

Array = NDArray[np.generic]
_GRACE_S = 0.5
_SHORT_FRAMES = 16
"""Frames of all streams in a batch. Batches up to this size keep their working memory for the next one.
Larger ones, as in replays, would keep as much as the largest batch took: 700 MB in mimi."""


@dataclass(frozen=True)
class Step:
    """One request of a stream.

    Args:
        stream: id of the stream.
        arrays: inputs [1, ...] by name.
        start: whether the request starts the stream.
        end: whether it ends the stream.
        resumed: whether the stream resumes one that was at another server before.
        problem: why the arrays cannot be used; the step then fails like any other bad step.
    """

    stream: int | str
    arrays: Mapping[str, Array]
    start: bool
    end: bool
    resumed: bool = False
    problem: BadInputError | None = None


_Form: TypeAlias = tuple[tuple[int, ...], *tuple[str, ...]]
"""What must stay the same within a stream: the data's shape without time, and the options' values."""


@dataclass
class _Live:
    slot: int
    form: _Form
    used_s: float


class StreamScheduler:
    """Runs the steps of live streams on one stateful model.

    A failed request leaves its stream as it was. If it is the first request, the stream does not start; if it
    is the last one, the stream ends. The error's message says which.

    Args:
        executor: executor of the model. Its metadata hold the state tensors (``state``), the rule for the
            data (``rule``), and the number of which the data's steps must be a multiple (``multiple``).
        data: name of the input that is cut into requests; its last axis is time.
        output: name of the output.
        limits: see :class:`Limits`.
        event_log: gets the events of streams.
        clock: the time in seconds.
    """

    def __init__(
        self,
        executor: Executor,
        data: str,
        output: str,
        limits: Limits,
        event_log: EventLog,
        clock: Callable[[], float] = time.monotonic,
    ):
        self._executor, self._data, self._output = executor, data, output
        self.limits, self.event_log, self._clock = limits, event_log, clock
        self._rule, self._multiple = executor.metadata["rule"], int(executor.metadata["multiple"])
        self._slots = executor.memory(limits.streams, _free_slots(limits))
        self._live: dict[int | str, _Live] = {}
        self._none_before_s = -inf  # no live stream had its last request before this time
        self._lock = threading.Lock()
        self.counters = Counters()

    @property
    def live(self) -> int:
        """Number of live streams, without those in other processes."""
        return len(self._live)

    def expire(self) -> None:
        """End streams that have had no request for too long."""
        with self._lock:
            oldest = self._clock() - self.limits.idle_s - _GRACE_S
            if oldest <= self._none_before_s:
                return
            for stream in [stream for stream, live in self._live.items() if live.used_s < oldest]:
                self._end(stream, "expired")
                self.counters.expired += 1
            self._none_before_s = min((live.used_s for live in self._live.values()), default=oldest)

    def run(
        self, steps: Sequence[Step], answer_now: Callable[[int, Array | Exception], None] = lambda *_: None
    ) -> list[Array | Exception]:
        """The output [1, ...] or the error of each step; steps of equal form run as one batch.

        Steps that need no run of the model, such as rejected ones, are answered before the batch runs:
        ``answer_now`` is called with row and answer of each.
        """
        self.expire()
        with self._lock:
            answers = self._answered(steps)
            waiting = [row for row in range(len(steps)) if row not in answers]
            if waiting:
                for row, answer in answers.items():
                    answer_now(row, answer)
            for rows in self._groups(steps, waiting):
                for row, answer in zip(rows, self._run_batch([steps[row] for row in rows]), strict=True):
                    answers[row] = self._settled(steps[row], answer)
            return [answers[row] for row in range(len(steps))]

    def _answered(self, steps: Sequence[Step]) -> dict[int, Array | Exception]:
        """Admit the steps; by row, the answers of those that are rejected or need no run."""
        admitted = [self._admitted(step) for step in steps]
        return {
            row: self._settled(steps[row], answer)
            for row, answer in enumerate(admitted)
            if answer is not None
        }

    def _admitted(self, step: Step) -> Array | Exception | None:
        """Admit one step: None if it must run, otherwise its answer."""
        if step.problem is not None:
            return step.problem
        try:
            self._enter(step)
            return self._checked(step)
        except (BadInputError, FullError) as error:
            return error

    def _enter(self, step: Step) -> None:
        live = self._live.get(step.stream)
        if not step.start:
            if live is None:
                raise BadInputError(
                    f"stream {step.stream} is not live: it never started, has ended, or was idle for more "
                    f"than {self.limits.idle_s:g} s; begin a new one with START"
                )
            return
        if live is not None:
            self._slots.clear(live.slot)
            live.form = self._form(step)
            return
        slot = self._slots.take()
        if slot is None:
            self.counters.refused += 1
            most = self.limits.streams
            self.event_log.note("refused", step.stream, live=most)
            raise FullError(
                f"the server is full: {most} of {most} streams are live; try another server, or again later"
            )
        self._live[step.stream] = live = _Live(slot, self._form(step), self._clock())
        self.counters.resumed += step.resumed
        event = "resumed" if step.resumed else "started"
        self.event_log.note(event, step.stream, routine=not step.resumed, form=self._in_words(live.form))

    def _checked(self, step: Step) -> Array | None:
        steps, live = step.arrays[self._data].shape[-1], self._live[step.stream]
        if steps == 0 and step.end:
            return self._empty_answer()
        if steps == 0 or steps % self._multiple:
            unit = (
                "at least 1 frame"
                if self._multiple == 1
                else f"a positive multiple of {self._multiple} samples"
            )
            raise BadInputError(f"{self._data} must have {unit}, got {steps}")
        form = self._form(step)
        if form != live.form:
            raise BadInputError(
                f"requests of a stream must be alike: it began with {self._in_words(live.form)}, this one "
                f"has {self._in_words(form)}"
            )
        return None

    def _form(self, step: Step) -> _Form:
        options = [f"{name} = {array.tolist()}" for name, array in step.arrays.items() if name != self._data]
        return step.arrays[self._data].shape[1:-1], *options

    def _in_words(self, form: _Form) -> str:
        shape, *options = form
        return ", ".join([f"{self._data} [{', '.join([*map(str, shape), 'steps'])}]", *options])

    def _groups(self, steps: Sequence[Step], rows: Sequence[int]) -> list[list[int]]:
        """Rows grouped into batches: data of equal shape, and equal options."""
        groups: dict[tuple[_Form, int], list[int]] = {}
        for row in rows:
            key = self._form(steps[row]), steps[row].arrays[self._data].shape[-1]
            groups.setdefault(key, []).append(row)
        return list(groups.values())

    def _empty_answer(self) -> Array:
        """An answer without frames."""
        return self._executor.empty(self._output)

    def _run_batch(self, steps: Sequence[Step]) -> list[Array | Exception]:
        slots = [self._live[step.stream].slot for step in steps]
        arrays = _batch([step.arrays for step in steps], self._data)
        frames = arrays[self._data].shape[-1] // self._multiple
        started = self._clock()
        try:
            given = arrays | {"slot": np.array(slots)}
            outputs = self._slots.run(given, keep_memory=frames * len(steps) <= _SHORT_FRAMES)
            self._slots.keep(slots, outputs)
        except Exception as error:
            for step in steps:
                self.event_log.note("failed", step.stream, reason=str(error))
            return [StepError(f"the model failed: {error}")] * len(steps)
        except BaseException:  # an interrupt: the state may be written in part
            for step in steps:
                self._end(step.stream, "interrupted")
            raise
        answers: list[Array | Exception] = [
            outputs[self._output][row : row + 1] if valid else BadInputError(self._rule)
            for row, valid in enumerate(outputs["valid"])
        ]
        self._count(len(steps), frames, self._clock() - started)
        return answers

    def _count(self, batch: int, frames: int, took_s: float) -> None:
        count, seconds = self.counters.batches.get(batch, (0, 0.0))
        self.counters.batches[batch] = count + 1, seconds + took_s
        if took_s > frames * self.limits.frame_s:
            self.counters.late += batch

    def _settled(self, step: Step, answer: Array | Exception) -> Array | Exception:
        """End the stream if the step ends it; the error, with what became of the stream."""
        failed, live = isinstance(answer, Exception), self._live.get(step.stream)
        if live is not None:
            live.used_s = self._clock()
            if step.end or (failed and step.start):
                self._end(step.stream, "ended")
        if not isinstance(answer, BadInputError | StepError) or live is None:
            return answer
        fate = "did not start" if step.start else "has ended" if step.end else "is as it was before"
        return type(answer)(f"{answer}; the stream {fate}")

    def _end(self, stream: int | str, event: str) -> None:
        self._slots.give_back(self._live.pop(stream).slot)
        self.event_log.note(event, stream, routine=event == "ended")


def _free_slots(limits: Limits) -> FreeSlots:
    if limits.shared is None:
        return FreeSlots(limits.streams)
    from tritone_runtime.streams.shared_slots import SharedFreeSlots  # not on Windows, which lacks fcntl

    return SharedFreeSlots(limits.shared, limits.streams)


def _batch(arrays: Sequence[Mapping[str, Array]], data: str) -> dict[str, Array]:
    """The data of all rows in one array; all other inputs are shared by the batch."""
    joined = dict(arrays[0])
    joined[data] = np.concatenate([each[data] for each in arrays])
    return joined
