"""A stand-in for a language model: it writes the ids of an utterance at the pace of speech."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterable, Iterator
from typing import TypeVar

__all__ = ["written", "written_async"]

T = TypeVar("T")


def written(ids: Iterable[T], per_second: float) -> Iterator[T]:
    """Yield each id when it is due; a late reader finds those that are due already."""
    begun = time.monotonic()
    for number, each in enumerate(ids):
        time.sleep(max(0.0, begun + number / per_second - time.monotonic()))
        yield each


async def written_async(ids: Iterable[T], per_second: float) -> AsyncIterator[T]:
    """:func:`written` for asyncio."""
    begun = time.monotonic()
    for number, each in enumerate(ids):
        await asyncio.sleep(max(0.0, begun + number / per_second - time.monotonic()))
        yield each
