"""Operations that are run in a thread or in an event loop, and what becomes of one whose loop was closed."""

import asyncio
from collections.abc import Generator
from typing import Any

from tritone_client.sansio import run_async


def test_an_operation_whose_loop_was_closed_ends_without_another_call() -> None:
    happened: list[str] = []

    def operation() -> Generator[Any, Any, None]:
        try:
            yield lambda: asyncio.get_running_loop().create_future()
        finally:
            for name in ("the end of the stream", "hanging up"):
                try:
                    yield lambda: happened.append("a call")
                finally:
                    happened.append(name)

    async def begun() -> Any:
        running = run_async(operation())
        running.send(None)
        return running

    loop = asyncio.new_event_loop()
    running = loop.run_until_complete(begun())
    loop.close()
    running.close()
    assert happened == ["the end of the stream"]
