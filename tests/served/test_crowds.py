"""More streams than fit, and streams whose clients vanish: slots become free, others are unaffected."""

import queue
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import grpc  # type: ignore[import-untyped]
import numpy as np
from helpers.comparison import against_whole
from helpers.servers.raw import HANGS_S, RawStreams, comes_true, counted, new_id
from helpers.signals import sound, tokens_of
from numpy.typing import NDArray
from tritonclient.grpc import service_pb2_grpc

from tritone_client import Codec, CodecInfo, Stream
from tritone_client.transport.interface import Place, Request
from tritone_client.transport.wire import message_of
from tritone_server.direct import channel_to
from tritone_server.launcher import TritonServer

NANO, MIMI = "small_nanocodec", "small_mimi"
MODELS = [f"{NANO}_decode_stream", f"{MIMI}_decode_stream", f"{MIMI}_encode_stream"]
MAX_STREAMS, FLOOD, FLOODERS = 64, 200, 4
LEAST_FRAMES = 20
FATES = ["ended", "left without a word", "cancelled", "hung up"]


def emptied(server: TritonServer, *models: str) -> bool:
    return comes_true(lambda: not any(counted(server, "streams_live", model) for model in models))


def test_streams_of_a_killed_client_make_room_within_the_idle_time(server: TritonServer) -> None:
    raw = RawStreams(server, MODELS[0])
    assert emptied(server, raw.model)
    expired = raw.count("streams_expired_total")
    program = f"""if True:
        import numpy as np, time
        from tritone_client import Codec
        streams = [Codec({NANO!r}, {server.url!r}).decode_stream() for _ in range(5)]
        for step in range(10**6):
            for stream in streams:
                stream.push(np.zeros((4, 1), int))
            step or print("streaming", flush=True)
            time.sleep(0.01)
    """
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as client:
        assert client.stdout is not None
        assert client.stdout.readline() == "streaming\n"
        assert comes_true(lambda: raw.count("streams_live") == 5)
        client.kill()
    assert comes_true(lambda: raw.count("streams_live") == 0)
    assert comes_true(lambda: raw.count("streams_expired_total") == expired + 5)


def test_a_full_server_refuses_while_all_live_and_takes_the_next_when_one_ends(server: TritonServer) -> None:
    raw, refused = RawStreams(server, MODELS[0]), new_id()
    assert emptied(server, raw.model)
    before, frame = raw.count("streams_refused_total"), np.zeros((4, 1), np.int64)
    streams = [new_id() for _ in range(MAX_STREAMS)]
    for stream in streams:
        raw.step(stream, frame, start=True)
    answer = raw.refusal(refused, frame, start=True)
    assert answer.startswith("UNAVAILABLE ")
    assert "the server is full: 64 of 64 streams are live" in answer
    assert f"stream {refused} is not live" in raw.refusal(refused, frame)
    assert comes_true(lambda: raw.count("streams_refused_total") == before + 1)
    raw.step(streams.pop(), frame, end=True)
    raw.step(refused, frame, start=True)
    for stream in (*streams, refused):
        raw.step(stream, frame[:, :0], end=True)
    assert comes_true(lambda: raw.count("streams_live") == 0)


@dataclass
class Good:
    """A stream that is used correctly, piece by piece, until it is stopped."""

    opened: Callable[[], Stream[Any]]
    signal: NDArray[Any]
    per_frame: int
    whole: Callable[[NDArray[Any]], NDArray[Any]]
    used: int = 0

    def run(self, seed: int, started: threading.Barrier, enough: threading.Event) -> NDArray[Any]:
        generator, pieces, more = np.random.default_rng(seed), [], 5
        with self.opened() as stream:
            while more or self.used <= LEAST_FRAMES * self.per_frame:
                size = self.per_frame * int(generator.integers(1, 5))
                pieces.append(stream.push(self.signal[..., self.used : self.used + size]))
                self.used += size
                if len(pieces) == 1:
                    started.wait(HANGS_S)
                more -= bool(more) and enough.is_set()
                time.sleep(0.02)
            pieces.append(stream.close())
        return np.concatenate(pieces, axis=-1)


def good_ones(nano: Codec, mimi: Codec) -> list[Good]:
    frames = 6000
    ones = [Good(nano.decode_stream, tokens_of(nano.info, frames, seed), 1, nano.decode) for seed in range(4)]
    ones += [
        Good(mimi.decode_stream, tokens_of(mimi.info, frames, seed, 8), 1, mimi.decode) for seed in range(2)
    ]
    rate_hz, hop = mimi.info.sample_rate_hz, mimi.info.samples_per_frame
    return ones + [
        Good(
            lambda: mimi.encode_stream(rate_hz),
            sound(mimi.info, frames, seed),
            hop,
            lambda audio: mimi.encode(audio, rate_hz),
        )
        for seed in range(2)
    ]


def flood(server: TritonServer, seed: int, infos: list[CodecInfo]) -> Counter[str]:
    """Open streams, use each for a while, and abandon it in a random way."""
    generator, fates = np.random.default_rng(seed), Counter[str]()
    for _ in range(FLOOD // FLOODERS):
        which, age, fate = (
            int(generator.integers(3)),
            int(generator.integers(1, 6)),
            str(generator.choice(FATES)),
        )
        data = (
            sound(infos[which], 1) if MODELS[which].endswith("encode_stream") else tokens_of(infos[which], 1)
        )
        fates[one_of_many(server, MODELS[which], data, age, fate)] += 1
    return fates


def one_of_many(server: TritonServer, model: str, data: NDArray[Any], age: int, fate: str) -> str:
    """How a stream ended."""
    names = ("audio", "tokens") if model.endswith("encode_stream") else ("tokens", "audio")
    stream, requests = new_id(), queue.SimpleQueue[Any]()

    def request(start: bool = False, end: bool = False) -> Any:
        return message_of(Request(model, {names[0]: data[None]}, names[1], Place(stream, start, end)))

    options = [("grpc.use_local_subchannel_pool", 1)]
    with channel_to(server.url, options) as channel:
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        call = stub.ModelStreamInfer(iter(requests.get, None), timeout=HANGS_S)
        for step in range(age):
            requests.put(request(start=step == 0))
            error = next(call).error_message
            if error:
                requests.put(None)
                assert "the server is full" in error
                return "refused"
        if fate != "left without a word":
            requests.put(request(end=fate == "ended"))
        if fate == "ended":
            assert not next(call).error_message
        elif fate == "cancelled":
            call.cancel()
        elif fate == "hung up":
            channel.close()
        requests.put(None)
        with suppress(grpc.RpcError):
            list(call)
    return fate


def test_good_streams_are_what_they_are_alone_in_a_flood_of_others(server: TritonServer) -> None:
    assert emptied(server, *MODELS)
    enough = threading.Event()
    with Codec(NANO, server.url) as nano, Codec(MIMI, server.url) as mimi:
        infos, ones = [nano.info, mimi.info, mimi.info], good_ones(nano, mimi)
        started = threading.Barrier(len(ones) + 1)
        with ThreadPoolExecutor(len(ones) + FLOODERS) as pool:
            good = [pool.submit(one.run, seed, started, enough) for seed, one in enumerate(ones)]
            started.wait(HANGS_S)
            floods = [pool.submit(flood, server, seed, infos) for seed in range(FLOODERS)]
            try:
                fates = sum((each.result() for each in floods), Counter[str]())
            finally:
                enough.set()
            results = [each.result() for each in good]
        assert fates.total() == FLOOD
        assert min(fates[fate] for fate in FATES) > 4, fates
        for one, result in zip(ones, results, strict=True):
            alone = one.whole(one.signal[..., : one.used])
            if result.dtype == np.int64:
                assert np.array_equal(alone, result)
            else:
                found = against_whole(
                    nano if one.whole == nano.decode else mimi, one.signal[:, : one.used], result, alone
                )
                assert found.ok, found
    assert emptied(server, *MODELS)
