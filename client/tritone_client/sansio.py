"""Operations that are written once and run in two ways: in a thread or in asyncio's event loop.

An operation is a generator (:data:`SansIO`). It yields functions without arguments, each of which does one
piece of input or output. The runner sends the operation what the function returned: :func:`run` calls the
function and waits in this thread; :func:`run_async` calls it and awaits what it returns. The operation itself
never waits.
"""

from collections.abc import Callable, Generator
from typing import Any, TypeAlias, TypeVar

__all__ = ["SansIO", "run", "run_async"]

T = TypeVar("T")
SansIO: TypeAlias = Generator[Callable[[], Any], Any, T]


def run(operation: SansIO[T]) -> T:
    """Run an operation in this thread, and return its result."""
    try:
        call = next(operation)
        while True:
            try:
                answer = call()
            except BaseException as error:  # also an interrupt: the operation cleans up
                call = operation.throw(error)
            else:
                call = operation.send(answer)
    except StopIteration as end:
        result: T = end.value
        return result


async def run_async(operation: SansIO[T]) -> T:
    """:func:`run` for functions that return awaitables."""
    try:
        call = next(operation)
        while True:
            try:
                answer = await call()
            except GeneratorExit:  # its loop was closed: the task can await nothing more
                _close(operation)
                raise
            except BaseException as error:  # cancellation too
                call = operation.throw(error)
            else:
                call = operation.send(answer)
    except StopIteration as end:
        result: T = end.value
        return result


def _close(operation: SansIO[Any]) -> None:
    """End an operation without any of the calls that it still wants."""
    while True:
        try:
            operation.close()
        except RuntimeError:  # it yielded another call
            continue
        return
