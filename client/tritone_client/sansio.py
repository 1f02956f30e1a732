"""Work written once and run two ways: in this thread, or awaited.

Steps are a generator that yields questions, functions without arguments, and is sent their answers.
What asks them decides whether a question blocks or is awaited; nothing in the steps does.
"""

from collections.abc import Callable, Generator
from typing import Any, TypeAlias, TypeVar

__all__ = ["Steps", "awaited", "run"]

T = TypeVar("T")
Steps: TypeAlias = Generator[Callable[[], Any], Any, T]


def run(steps: Steps[T]) -> T:
    """Ask every question here and wait for its answer."""
    try:
        question = next(steps)
        while True:
            try:
                answer = question()
            except BaseException as error:  # the steps decide what an interrupt means for them
                question = steps.throw(error)
            else:
                question = steps.send(answer)
    except StopIteration as end:
        result: T = end.value
        return result


async def awaited(steps: Steps[T]) -> T:
    """As :func:`run`, for questions that give awaitables."""
    try:
        question = next(steps)
        while True:
            try:
                answer = await question()
            except BaseException as error:  # cancellation too
                question = steps.throw(error)
            else:
                question = steps.send(answer)
    except StopIteration as end:
        result: T = end.value
        return result
