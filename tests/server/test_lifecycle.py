"""Codecs that are used too early, too late, or where their connections do not belong."""

import asyncio
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Event
from typing import Any

import numpy as np
import pytest
from helpers.signals import tokens_of

from tritone_client import AsyncCodec, Codec, CodecNotOpenError, UnknownCodecError
from tritone_client.adapters.kanitts import KaniTTSDecoder
from tritone_client.adapters.moss import MossTokenizer
from tritone_server.launcher import TritonServer

NAME = "small_nanocodec"
TOKENS = np.zeros((4, 3), int)


async def first_audio(codec: AsyncCodec) -> Any:
    return await anext(codec.stream([TOKENS]))


async def limits(codec: AsyncCodec) -> Any:
    return codec.stream_info


async def facts(codec: AsyncCodec) -> Any:
    return codec.info


async def opened(codec: AsyncCodec) -> Any:
    async with codec.decode_stream() as stream:
        return await stream.push(TOKENS)


CALLS: dict[str, Callable[[AsyncCodec], Any]] = {
    "decode": lambda codec: codec.decode(TOKENS),
    "encode": lambda codec: codec.encode(np.zeros(2000), 22050),
    "decode_stream": opened,
    "stream": first_audio,
    "stream_info": limits,
    "info": facts,
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_an_async_codec_that_was_not_entered_says_how(call: Callable[[AsyncCodec], Any]) -> None:
    async def too_early() -> None:
        codec = AsyncCodec(NAME)
        with pytest.raises(
            CodecNotOpenError, match=r"not open yet: use 'async with AsyncCodec\(\.\.\.\) as codec:'"
        ):
            await call(codec)
        await codec.close()

    asyncio.run(too_early())


def test_an_async_codec_opens_again_after_an_error_and_after_closing(server: TritonServer) -> None:
    async def again() -> None:
        unknown = AsyncCodec("nope", server.url)
        for _ in range(2):
            with pytest.raises(UnknownCodecError):
                await unknown.__aenter__()
            with pytest.raises(CodecNotOpenError):
                await unknown.decode(TOKENS)
        codec = AsyncCodec(NAME, server.url)
        for _ in range(2):
            async with codec:
                assert len(await codec.decode(TOKENS)) == 3 * 49
            with pytest.raises(CodecNotOpenError, match="was closed"):
                await codec.decode(TOKENS)

    asyncio.run(again())


def test_a_codec_that_is_open_may_be_entered(server: TritonServer) -> None:
    async def nested() -> None:
        async with AsyncCodec(NAME, server.url) as outer, outer as inner:
            assert inner is outer
            assert len(await inner.decode(TOKENS)) == 3 * 49

    asyncio.run(nested())
    with Codec(NAME, server.url) as outer:
        with outer as inner:
            assert len(inner.decode(TOKENS)) == 3 * 49
        with pytest.raises(CodecNotOpenError, match="was closed"), outer:
            pass


def test_a_codec_of_another_event_loop_says_so(server: TritonServer) -> None:
    codec = AsyncCodec(NAME, server.url)
    with asyncio.Runner() as first:
        first.run(codec.__aenter__())
        with ThreadPoolExecutor(1) as other:
            calls = [codec.decode(TOKENS), first_audio(codec), opened(codec), codec.__aenter__()]
            for call in calls:
                with pytest.raises(CodecNotOpenError, match="in another process or event loop"):
                    other.submit(asyncio.run, call).result()
        assert len(first.run(codec.decode(TOKENS))) == 3 * 49
        first.run(codec.close())


def test_a_codec_that_came_through_a_fork_says_so(server: TritonServer) -> None:
    """Its connections would never answer there."""
    program = f"""if True:
        import os, sys
        import numpy as np
        from tritone_client import Codec, CodecNotOpenError
        codec = Codec({NAME!r}, {server.url!r})
        child = os.fork()
        if not child:
            try:
                codec.decode(np.zeros((4, 3), int))
            except CodecNotOpenError as error:
                print(error, flush=True)
                os._exit(7)
            os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
        print(len(codec.decode(np.zeros((4, 3), int))))
    """
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.stdout.splitlines()[0].endswith("where its connections belong; open one here")
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "147"), done.stderr


def test_a_call_that_is_under_way_when_its_codec_closes_says_so(
    server: TritonServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    codec, asked, free = Codec(NAME, server.url), Event(), Event()
    results = codec._transports[0].results

    def held(*call: Any) -> Any:
        asked.set()
        assert free.wait(60)
        return results(*call)

    monkeypatch.setattr(codec._transports[0], "results", held)
    with ThreadPoolExecutor(1) as pool:
        decoding = pool.submit(codec.decode, TOKENS)
        assert asked.wait(60)
        codec.close()
        free.set()
        with pytest.raises(CodecNotOpenError, match="was closed while a call was under way"):
            decoding.result(60)


def test_a_task_whose_codec_closes_is_told_and_not_cancelled(server: TritonServer) -> None:
    async def closed_under_way() -> None:
        codec = await AsyncCodec(NAME, server.url).__aenter__()
        decoding = asyncio.create_task(codec.decode([tokens_of(codec.info, 400)] * 8))
        while not decoding.done():
            await asyncio.sleep(0)
            await codec.close()
        with pytest.raises(CodecNotOpenError, match="was closed"):
            decoding.result()

    asyncio.run(closed_under_way())


def test_a_task_that_is_cancelled_stays_cancelled(server: TritonServer) -> None:
    async def cancelled() -> None:
        async with AsyncCodec(NAME, server.url) as codec:
            decoding = asyncio.create_task(codec.decode(tokens_of(codec.info, 400)))
            await asyncio.sleep(0)
            decoding.cancel()
            with pytest.raises(asyncio.CancelledError):
                await decoding
            assert len(await codec.decode(TOKENS)) == 3 * 49

    asyncio.run(cancelled())


def test_stand_ins_for_other_decoders_say_when_they_are_closed(server: TritonServer) -> None:
    decoder = KaniTTSDecoder(NAME, server.url)
    decoder.decode_frame([1, 2, 3, 4])
    decoder.close()
    decoder.close()
    with pytest.raises(CodecNotOpenError, match="was closed"):
        decoder.decode_frame([1, 2, 3, 4])
    tokenizer = MossTokenizer("small_moss", server.url)
    tokenizer.close()
    with pytest.raises(CodecNotOpenError, match="was closed"):
        tokenizer.encode(np.zeros((1, 1, 170), np.float32))
