"""Steps of many threads and tasks share batches; each gets its own output or error."""

import asyncio
import gc
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from helpers.servers.raw import comes_true
from helpers.summing import step, summing

from tritone_runtime.errors import BadInputError, StepError
from tritone_runtime.streams.batcher import StepBatcher
from tritone_runtime.streams.events import EventLog
from tritone_runtime.streams.scheduler import Limits, StreamScheduler

MOST = 3
LIMIT_S = 60.0


class Gate:
    """Holds back a scheduler's batches until it is opened, and records their sizes."""

    def __init__(self, scheduler: StreamScheduler):
        self.open, self.reached = threading.Event(), threading.Event()
        self.sizes: list[int] = []
        self.run: Any = scheduler.run
        scheduler.run = self._held  # type: ignore[assignment, method-assign]

    def _held(self, steps: Any, *more: Any) -> Any:
        self.sizes.append(len(steps))
        self.reached.set()
        self.open.wait()
        return self.run(steps, *more)


@pytest.fixture
def scheduler(tmp_path: Path) -> StreamScheduler:
    return StreamScheduler(summing(tmp_path), "tokens", "audio", Limits(20, 1e6), EventLog("small"))


@pytest.fixture
def batcher(scheduler: StreamScheduler) -> StepBatcher:
    return StepBatcher(scheduler, MOST)


def waiting(batcher: StepBatcher, count: int) -> Callable[[], bool]:
    return lambda: len(batcher._waiting) == count


def test_steps_that_come_while_a_batch_runs_are_the_next_batch(
    scheduler: StreamScheduler, batcher: StepBatcher
) -> None:
    gate = Gate(scheduler)
    with ThreadPoolExecutor(6) as pool:
        first = pool.submit(batcher.run, step(1, [1], start=True))
        assert gate.reached.wait()
        others = [pool.submit(batcher.run, step(number, [number], start=True)) for number in range(2, 7)]
        assert comes_true(waiting(batcher, 5))
        gate.open.set()
        assert [each.result()[0].tolist() for each in (first, *others)] == [[1], [2], [3], [4], [5], [6]]
    assert gate.sizes == [1, MOST, 2]


def test_tasks_and_threads_are_in_the_same_batch(scheduler: StreamScheduler, batcher: StepBatcher) -> None:
    gate = Gate(scheduler)

    async def both() -> list[Any]:
        first = asyncio.create_task(batcher.run_async(step(1, [1], start=True)))
        assert await asyncio.to_thread(gate.reached.wait)
        thread = asyncio.create_task(asyncio.to_thread(batcher.run, step(2, [2], start=True)))
        task = asyncio.create_task(batcher.run_async(step(3, [3], start=True)))
        assert await asyncio.to_thread(comes_true, waiting(batcher, 2))
        gate.open.set()
        return [answer[0].tolist() for answer in await asyncio.gather(first, thread, task)]

    assert asyncio.run(both()) == [[1], [2], [3]]
    assert gate.sizes == [1, 2]


def test_a_bad_step_is_refused_and_its_batch_goes_on(
    scheduler: StreamScheduler, batcher: StepBatcher
) -> None:
    gate = Gate(scheduler)
    with ThreadPoolExecutor(4) as pool:
        first = pool.submit(batcher.run, step(1, [1], start=True))
        assert gate.reached.wait()
        bad = pool.submit(batcher.run, step(2, [-1], start=True))
        good = pool.submit(batcher.run, step(3, [3], start=True))
        assert comes_true(waiting(batcher, 2))
        gate.open.set()
        assert [first.result()[0].tolist(), good.result()[0].tolist()] == [[1], [3]]
        with pytest.raises(BadInputError, match="must not be negative"):
            bad.result()


def test_a_task_that_is_cancelled_leaves_the_others(scheduler: StreamScheduler, batcher: StepBatcher) -> None:
    gate = Gate(scheduler)

    async def cancelled() -> list[int]:
        left = asyncio.create_task(batcher.run_async(step(1, [1], start=True)))
        assert await asyncio.to_thread(gate.reached.wait)
        left.cancel()
        stays = asyncio.create_task(batcher.run_async(step(2, [2], start=True)))
        gate.open.set()
        with pytest.raises(asyncio.CancelledError):
            await left
        found: list[int] = (await stays)[0].tolist()
        return found

    assert asyncio.run(cancelled()) == [2]
    assert batcher.run(step(1, [4]))[0].tolist() == [5], "its step was run, and the stream lives"


def test_an_interrupt_ends_the_streams_of_its_batch_and_no_others(
    scheduler: StreamScheduler, batcher: StepBatcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    batcher.run(step(1, [1], start=True))
    batcher.run(step(2, [2], start=True))
    with monkeypatch.context() as patched:

        def interrupted(*_: Any, **__: Any) -> Any:
            raise KeyboardInterrupt

        patched.setattr(scheduler._slots, "run", interrupted)
        with pytest.raises(KeyboardInterrupt):
            batcher.run(step(1, [1]))
    with pytest.raises(BadInputError, match="not live"):
        batcher.run(step(1, [1]))
    assert batcher.run(step(2, [1]))[0].tolist() == [3]


def test_steps_that_wait_during_an_interrupt_get_an_error(
    scheduler: StreamScheduler, batcher: StepBatcher
) -> None:
    gate = Gate(scheduler)
    held = gate.run

    def interrupted(steps: Any, *more: Any) -> Any:
        if len(steps) > 1:
            raise SystemExit
        return held(steps, *more)

    gate.run = interrupted
    with ThreadPoolExecutor(4) as pool:
        first = pool.submit(batcher.run, step(1, [1], start=True))
        assert gate.reached.wait()
        others = [pool.submit(batcher.run, step(number, [2], start=True)) for number in (2, 3)]
        assert comes_true(waiting(batcher, 2))
        gate.open.set()
        assert first.result()[0].tolist() == [1]
        assert {type(each.exception()) for each in others} == {SystemExit, StepError}
    assert batcher.run(step(4, [4], start=True))[0].tolist() == [4]


def test_steps_of_one_stream_run_one_after_the_other(
    scheduler: StreamScheduler, batcher: StepBatcher
) -> None:
    """A task that was cancelled leaves its step in the queue, and the end of its stream comes behind it."""
    gate = Gate(scheduler)

    async def left() -> list[Any]:
        first = asyncio.create_task(batcher.run_async(step(1, [1], start=True)))
        assert await asyncio.to_thread(gate.reached.wait)
        steps = [step(2, [2], start=True), step(3, [3], start=True), step(2, [4]), step(2, [], end=True)]
        others = [asyncio.create_task(batcher.run_async(each)) for each in steps]
        assert await asyncio.to_thread(comes_true, waiting(batcher, 4))
        others[0].cancel()
        gate.open.set()
        answers = await asyncio.gather(first, *others, return_exceptions=True)
        return [answer if isinstance(answer, BaseException) else answer[0].tolist() for answer in answers]

    first, cancelled, *rest = asyncio.run(left())
    assert (first, type(cancelled), rest) == ([1], asyncio.CancelledError, [[3], [6], []])
    assert gate.sizes == [1, 2, 1, 1]
    assert batcher.run(step(3, [1]))[0].tolist() == [4], "its neighbour lives"
    assert scheduler.live == 2


@pytest.fixture
def interruptible() -> Iterator[None]:
    """SIGINT raises KeyboardInterrupt, also where a shell had this program ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_an_interrupt_while_a_thread_waits_leaves_the_others(
    scheduler: StreamScheduler, batcher: StepBatcher
) -> None:
    gate, here = Gate(scheduler), threading.get_ident()

    def interrupted() -> None:
        assert comes_true(waiting(batcher, 1))
        signal.pthread_kill(here, signal.SIGINT)

    with ThreadPoolExecutor(4) as pool:
        try:
            first = pool.submit(batcher.run, step(1, [1], start=True))
            assert gate.reached.wait()
            sender = pool.submit(interrupted)
            with pytest.raises(KeyboardInterrupt):
                batcher.run(step(2, [2], start=True))
            sender.result()
            last = pool.submit(batcher.run, step(3, [3], start=True))
            assert comes_true(waiting(batcher, 2))
        finally:
            gate.open.set()
        assert [first.result(LIMIT_S)[0].tolist(), last.result(LIMIT_S)[0].tolist()] == [[1], [3]]
    assert batcher.run(step(2, [4]))[0].tolist() == [6], "its step was run, and the stream lives"


class Garbage:
    """Ends a stream when it is collected, as an iterator of a codec does."""

    def __init__(self, batcher: StepBatcher, stream: int):
        self.batcher, self.stream, self.cycle = batcher, stream, self
        self.said: list[str] = []

    def __del__(self) -> None:
        try:
            self.batcher.run(step(self.stream, [], end=True))
        except StepError as error:
            self.said.append(str(error))


def test_a_stream_that_is_collected_within_a_batch_ends_after_it(
    scheduler: StreamScheduler, batcher: StepBatcher
) -> None:
    for stream in (1, 2):
        batcher.run(step(stream, [stream], start=True))
    garbage = Garbage(batcher, 2)
    said, held = garbage.said, scheduler.run
    del garbage

    def collecting(steps: Any, *more: Any) -> Any:
        gc.collect()
        return held(steps, *more)

    scheduler.run = collecting  # type: ignore[assignment, method-assign]
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(batcher.run, step(1, [1])).result(LIMIT_S)[0].tolist() == [2]
    assert len(said) == 1
    assert "in the middle of a batch" in said[0]
    assert comes_true(lambda: scheduler.live == 1)
