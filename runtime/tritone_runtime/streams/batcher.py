"""Batches of steps that many threads and tasks bring.

If no batch is running, a new step runs at once, in the thread that brought it. Steps that come while a batch
runs wait for its end and form the next batch, as in the sequence batcher of a Triton server.
"""

import asyncio
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import NoReturn

import numpy as np
from numpy.typing import NDArray

from tritone_runtime.errors import StepError
from tritone_runtime.executors.exits import runs
from tritone_runtime.streams.scheduler import Step, StreamScheduler

__all__ = ["StepBatcher"]

Array = NDArray[np.generic]
_UNANSWERED = StepError("the step was not run")
_this_thread = threading.local()


class _Ticket:
    """A step that waits. ``wake`` is called when it has its answer, or when its owner must run a batch."""

    __slots__ = ("answer", "answered", "step", "wake")

    def __init__(self, step: Step, wake: Callable[["_Ticket"], object]):
        self.step, self.wake = step, wake
        self.answered = False
        self.answer: Array | Exception = _UNANSWERED

    def settle(self, answer: Array | Exception) -> None:
        self.answer, self.answered = answer, True
        self.wake(self)


class StepBatcher:
    """Runs the steps of one model's streams.

    Args:
        scheduler: scheduler of the model's streams.
        most: most steps in a batch.
    """

    def __init__(self, scheduler: StreamScheduler, most: int):
        self._scheduler, self._most = scheduler, most
        # Garbage collection may close a stream, and so call `run`, wherever this thread holds the lock.
        self._lock = threading.RLock()
        self._waiting: deque[_Ticket] = deque()
        self._leader: _Ticket | None = None
        self._pool: ThreadPoolExecutor | None = None

    def run(self, step: Step) -> Array:
        """The step's output [1, ...]; raises its error. This thread may also run other streams' steps.

        Raises:
            StepError: this thread is in the middle of a batch, where garbage collection has closed a stream;
                the step is run later. Or the interpreter is about to end.
        """
        if getattr(_this_thread, "leads", False):
            self._run_later(step)
        runs.refuse_after_end()
        woken = threading.Event()
        ticket = _Ticket(step, lambda _: woken.set())
        try:
            if not self._entered(ticket):
                woken.wait()
            self._lead(ticket)
        except BaseException:
            self._leave(ticket)
            raise
        return _result(ticket)

    async def run_async(self, step: Step) -> Array:
        """:meth:`run` for a task: batches run in a thread of this batcher."""
        runs.refuse_after_end()
        loop = asyncio.get_running_loop()
        done: asyncio.Future[None] = loop.create_future()

        def wake(ticket: _Ticket) -> None:
            if ticket.answered:
                with suppress(RuntimeError):  # the loop was closed meanwhile: nobody waits
                    loop.call_soon_threadsafe(_complete, done)
            else:
                self._in_thread(ticket)

        ticket = _Ticket(step, wake)
        if self._entered(ticket):
            self._in_thread(ticket)
        await done
        return _result(ticket)

    def _run_later(self, step: Step) -> NoReturn:
        ticket = _Ticket(step, self._in_thread)
        if self._entered(ticket):
            self._in_thread(ticket)
        raise StepError("this thread is in the middle of a batch; the step is run after it")

    def _entered(self, ticket: _Ticket) -> bool:
        """Queue a step; True if no thread is running batches, so that the step's owner must."""
        with self._lock:
            self._waiting.append(ticket)
            if self._leader is None:
                self._leader = ticket
            return self._leader is ticket

    def _in_thread(self, ticket: _Ticket) -> None:
        """Run batches for a step whose owner cannot."""
        if ticket.answered:
            return
        with self._lock:
            if self._pool is None:
                self._pool = ThreadPoolExecutor(1, thread_name_prefix="tritone-steps")
        try:
            self._pool.submit(self._lead, ticket)
        except RuntimeError:  # the interpreter ends, and starts no threads any more
            self._lead(ticket)

    def _lead(self, ticket: _Ticket) -> None:
        """Run batches until this step is answered; then the owner of the next step runs them."""
        before, _this_thread.leads = getattr(_this_thread, "leads", False), True
        try:
            while not ticket.answered:
                self._run_batch()
        finally:
            _this_thread.leads = before
            self._hand_over(ticket)

    def _hand_over(self, ticket: _Ticket) -> None:
        """Where this step's owner ran batches, the owner of the next step runs them."""
        with self._lock:
            if self._leader is not ticket:
                return
            while self._waiting and self._waiting[0].answered:
                self._waiting.popleft()
            self._leader = self._waiting[0] if self._waiting else None
            if self._leader is not None:
                self._leader.wake(self._leader)

    def _leave(self, ticket: _Ticket) -> None:
        """An interrupt took the owner of this step away, who can run no batches any more."""
        with self._lock:
            ticket.wake = self._in_thread
            self._hand_over(ticket)

    def _run_batch(self) -> None:
        batch: list[_Ticket] = []

        def settle(row: int, answer: Array | Exception) -> None:
            batch[row].settle(answer)

        try:
            self._fill(batch)
            with runs.one():
                answers = self._scheduler.run([ticket.step for ticket in batch], settle)
            for ticket, answer in zip(batch, answers, strict=True):
                if not ticket.answered:
                    ticket.settle(answer)
        except BaseException as error:
            for ticket in batch:
                if not ticket.answered:
                    ticket.settle(StepError(f"the step was interrupted: {error!r}"))
            raise

    def _fill(self, batch: list[_Ticket]) -> None:
        """Take the oldest steps; of each stream one, since its next one needs what that one leaves."""
        with self._lock:
            streams = set()
            for ticket in list(self._waiting):
                if ticket.step.stream not in streams and not ticket.answered and len(batch) < self._most:
                    streams.add(ticket.step.stream)
                    batch.append(ticket)
            for ticket in batch:
                self._waiting.remove(ticket)


def _complete(done: "asyncio.Future[None]") -> None:
    if not done.done():
        done.set_result(None)


def _result(ticket: _Ticket) -> Array:
    if isinstance(ticket.answer, Exception):
        raise ticket.answer
    return ticket.answer
