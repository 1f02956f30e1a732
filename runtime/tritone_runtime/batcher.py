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

import numpy as np
from numpy.typing import NDArray

from tritone_runtime.errors import StepError
from tritone_runtime.scheduler import Step, StreamScheduler

__all__ = ["StepBatcher"]

Array = NDArray[np.generic]
_UNANSWERED = StepError("the step was not run")


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
        self._lock = threading.Lock()
        self._waiting: deque[_Ticket] = deque()
        self._running = False
        self._pool: ThreadPoolExecutor | None = None

    def run(self, step: Step) -> Array:
        """The step's output [1, ...]; raises its error. This thread may also run other streams' steps."""
        woken = threading.Event()
        ticket = _Ticket(step, lambda _: woken.set())
        if not self._entered(ticket):
            woken.wait()
        if not ticket.answered:
            self._lead(ticket)
        return _result(ticket)

    async def run_async(self, step: Step) -> Array:
        """:meth:`run` for a task: batches run in a thread of this batcher."""
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

    def _entered(self, ticket: _Ticket) -> bool:
        """Queue a step; True if no thread is running batches, so that the step's owner must."""
        with self._lock:
            self._waiting.append(ticket)
            leads, self._running = not self._running, True
        return leads

    def _in_thread(self, ticket: _Ticket) -> None:
        if self._pool is None:
            self._pool = ThreadPoolExecutor(1, thread_name_prefix="tritone-steps")
        self._pool.submit(self._lead, ticket)

    def _lead(self, ticket: _Ticket) -> None:
        """Run batches until this step is answered; then the owner of the next step runs them."""
        try:
            while not ticket.answered:
                self._run_batch()
        finally:
            self._hand_over()

    def _hand_over(self) -> None:
        with self._lock:
            following = self._waiting[0] if self._waiting else None
            self._running = following is not None
        if following is not None:
            following.wake(following)

    def _run_batch(self) -> None:
        with self._lock:
            batch = [self._waiting.popleft() for _ in range(min(self._most, len(self._waiting)))]

        def settle(row: int, answer: Array | Exception) -> None:
            batch[row].settle(answer)

        try:
            answers = self._scheduler.run([ticket.step for ticket in batch], settle)
        except BaseException as error:
            for ticket in batch:
                ticket.settle(StepError(f"the step was interrupted: {error!r}"))
            raise
        for ticket, answer in zip(batch, answers, strict=True):
            if not ticket.answered:
                ticket.settle(answer)


def _complete(done: "asyncio.Future[None]") -> None:
    if not done.done():
        done.set_result(None)


def _result(ticket: _Ticket) -> Array:
    if isinstance(ticket.answer, Exception):
        raise ticket.answer
    return ticket.answer
