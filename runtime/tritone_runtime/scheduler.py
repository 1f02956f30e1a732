"""Live streams of one model: who is live, and steps of many of them in one run."""

import json
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import inf
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tritone_runtime.errors import BadInputError, FullError, StepError
from tritone_runtime.events import Counters, EventLog
from tritone_runtime.executors.onnx_runtime import OnnxExecutor
from tritone_runtime.slots import Slots, StateTensor

__all__ = ["Limits", "Step", "StreamScheduler", "state_of"]

Array = NDArray[np.generic]
_GRACE_S = 0.5
_SHORT_FRAMES = 16
"""Of all streams together. Such steps keep their working memory for the next one; replays, of many frames and
streams, would hold on to too much: 700 MB in mimi, of whatever was the largest."""


@dataclass(frozen=True)
class Limits:
    """How many streams may live at once, for how long without a request, and the sound of a frame.

    A step that takes longer than the sound it makes is late.
    """

    streams: int
    idle_s: float
    frame_s: float = inf


@dataclass(frozen=True)
class Step:
    """One request of a stream: named arrays [1, ...] and its place in the stream.

    ``resumed``: what starts is the rest of a stream that was elsewhere before. ``problem``: why its
    arrays could not be taken; what becomes of its stream is told as for any that fails.
    """

    stream: int | str
    arrays: Mapping[str, Array]
    start: bool
    end: bool
    resumed: bool = False
    problem: BadInputError | None = None


@dataclass
class _Live:
    slot: int
    form: str
    used_s: float


class StreamScheduler:
    """Steps of live streams on one stateful model.

    A request that fails leaves its stream as it was, except that a stream whose first request fails
    does not live, and one whose last request fails has ended; the message says which.

    Args:
        executor: of the model, whose metadata say what a stream keeps (``state``), what its data must
            be (``rule``) and of how many steps it comes in multiples (``multiple``).
        data: the input that is cut into requests, time last.
        output: the output that answers it.
        limits: see :class:`Limits`.
        event_log: told what happens to streams.
        clock: seconds.
    """

    def __init__(
        self,
        executor: OnnxExecutor,
        data: str,
        output: str,
        limits: Limits,
        event_log: EventLog,
        clock: Callable[[], float] = time.monotonic,
    ):
        self._executor, self._data, self._output = executor, data, output
        self.limits, self.event_log, self._clock = limits, event_log, clock
        self._rule, self._multiple = executor.metadata["rule"], int(executor.metadata["multiple"])
        self._slots = _slots(executor, limits.streams)
        self._live: dict[int | str, _Live] = {}
        self._lock = threading.Lock()
        self.counters = Counters()

    @property
    def live(self) -> int:
        """Streams now."""
        return len(self._live)

    def expire(self) -> None:
        """End the streams that nobody has used for too long."""
        with self._lock:
            oldest = self._clock() - self.limits.idle_s - _GRACE_S
            for stream in [stream for stream, live in self._live.items() if live.used_s < oldest]:
                self._end(stream, "expired")
                self.counters.expired += 1

    def run(
        self, steps: Sequence[Step], at_once: Callable[[int, Array | Exception], None] = lambda *_: None
    ) -> list[Array | Exception]:
        """Answer each step with its output [1, ...] or its error; steps of one form run as one batch.

        ``at_once`` is told the rows that need no run of the model, and their answers, before the others run.
        """
        self.expire()
        with self._lock:
            answers = self._answered(steps)
            waiting = [row for row in range(len(steps)) if row not in answers]
            if waiting:
                for row, answer in answers.items():
                    at_once(row, answer)
            for rows in self._alike(steps, waiting):
                for row, answer in zip(rows, self._run_batch([steps[row] for row in rows]), strict=True):
                    answers[row] = self._settled(steps[row], answer)
            return [answers[row] for row in range(len(steps))]

    def _answered(self, steps: Sequence[Step]) -> dict[int, Array | Exception]:
        """By row, the answers of steps that cannot be run, or need not; all others are admitted."""
        admitted = [self._admitted(step) for step in steps]
        return {
            row: self._settled(steps[row], answer)
            for row, answer in enumerate(admitted)
            if answer is not None
        }

    def _admitted(self, step: Step) -> Array | Exception | None:
        """None when the step can be run; else its answer."""
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
            self.event_log.note("refused", step.stream, live=self.live)
            raise FullError(
                f"the server is full: {self.live} of {self.limits.streams} streams are live; "
                "try another server, or again later"
            )
        self._live[step.stream] = live = _Live(slot, self._form(step), self._clock())
        self.counters.resumed += step.resumed
        event = "resumed" if step.resumed else "started"
        self.event_log.note(event, step.stream, routine=not step.resumed, form=live.form)

    def _checked(self, step: Step) -> Array | None:
        steps, live = step.arrays[self._data].shape[-1], self._live[step.stream]
        if steps == 0 and step.end:
            return self._nothing()
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
                f"requests of a stream must be alike: it began with {live.form}, this one has {form}"
            )
        return None

    def _form(self, step: Step) -> str:
        """What must stay the same within a stream: the data's shape but for time, and every option."""
        shape = list(step.arrays[self._data].shape[1:-1])
        options = [f"{name} = {array.tolist()}" for name, array in step.arrays.items() if name != self._data]
        return ", ".join([f"{self._data} {[*shape, 'steps']}".replace("'", ""), *options])

    def _alike(self, steps: Sequence[Step], rows: Sequence[int]) -> list[list[int]]:
        """Groups of rows that one run can take: data of equal shape, and equal options."""
        groups: dict[tuple[Any, ...], list[int]] = {}
        for row in rows:
            key = (self._form(steps[row]), steps[row].arrays[self._data].shape[-1])
            groups.setdefault(key, []).append(row)
        return list(groups.values())

    def _nothing(self) -> Array:
        """An answer without steps."""
        return self._executor.empty(self._output)

    def _run_batch(self, steps: Sequence[Step]) -> list[Array | Exception]:
        slots = [self._live[step.stream].slot for step in steps]
        arrays = _batch([step.arrays for step in steps], self._data)
        frames = arrays[self._data].shape[-1] // self._multiple
        started = self._clock()
        try:
            given = arrays | {"slot": np.array(slots)}
            outputs = self._slots.run(self._executor, given, keep_memory=frames * len(steps) <= _SHORT_FRAMES)
            self._slots.keep(slots, outputs)
        except Exception as error:
            for step in steps:
                self.event_log.note("failed", step.stream, reason=str(error))
            return [StepError(f"the model failed: {error}")] * len(steps)
        except BaseException:  # an interrupt: some of the state may be written, and some not
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
        """End the stream where the step ends it, and say what became of it after an error."""
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


def _slots(executor: OnnxExecutor, count: int) -> Slots:
    tensors = state_of(executor)
    if executor.device.is_cpu:
        return Slots(tensors, count)
    from tritone_runtime.device_slots import DeviceSlots  # needs onnx, which a CPU does not

    return DeviceSlots(tensors, count, executor.device)


def state_of(executor: OnnxExecutor) -> list[StateTensor]:
    """The state tensors that the model's metadata announce."""
    return [
        StateTensor(
            each["name"], tuple(each["shape"]), np.dtype(each["dtype"]), each["ring_axis"], each["places"]
        )
        for each in json.loads(executor.metadata["state"])
    ]


def _batch(arrays: Sequence[Mapping[str, Array]], data: str) -> dict[str, Array]:
    """Rows of the data together; what else there is, is the same for all."""
    joined = dict(arrays[0])
    joined[data] = np.concatenate([each[data] for each in arrays])
    return joined
