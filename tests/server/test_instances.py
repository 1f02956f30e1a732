"""Several processes of a model of live streams: one limit, exact streams, and metrics that add up."""

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import psutil
import pytest
from helpers.comparison import against_whole
from helpers.copies import copied_without_hashes
from helpers.servers.processes import dry_run, ended
from helpers.servers.raw import RawStreams, comes_true, counted, new_id
from helpers.signals import tokens_of
from tritonclient.utils import InferenceServerException

from scripts.common.stream_metrics import live_streams, page, parse_steps
from tritone_client import Codec, served_codecs
from tritone_server.launcher import ServerError, TritonServer, serving
from tritone_server.settings.instances import run_in_processes

NAME = "small_nanocodec"
MODEL = f"{NAME}_decode_stream"
PLACES, NEVER_US = 6, 3_600_000_000
FRAME = np.zeros((4, 1), np.int64)


@pytest.fixture
def two(repository: Path, tmp_path: Path) -> Iterator[TritonServer]:
    """A server with two processes for the streams, which do not end for being idle."""
    copied_without_hashes(repository, NAME, tmp_path)
    config = tmp_path / MODEL / "config.pbtxt"
    limit = re.compile(r"max_sequence_idle_microseconds: \d+")
    assert limit.search(config.read_text())
    config.write_text(limit.sub(f"max_sequence_idle_microseconds: {NEVER_US}", config.read_text()))
    with serving(tmp_path, [NAME], max_streams=PLACES, instances=2) as server:
        yield server
        server.kill()  # it would wait for the live streams


def processes_of(server: TritonServer) -> list[psutil.Process]:
    return [
        each
        for each in psutil.Process(server.pid).children()
        if any(f"/{MODEL}/" in word for word in each.cmdline())
    ]


def live_by_process(server: TritonServer) -> dict[str, float]:
    found = re.findall(
        rf'^tritone_streams_live\{{(?=[^}}]*model="{MODEL}")[^}}]*process="(\d+)"[^}}]*\}} (\S+)$',
        page(server.metrics_url),
        re.MULTILINE,
    )
    return {process: float(value) for process, value in found}


def test_streams_of_two_processes_equal_their_wholes(two: TritonServer) -> None:
    assert len(processes_of(two)) == 2
    assert served_codecs(two.url) == [NAME]
    with Codec(NAME, two.url) as codec, ExitStack() as stack, ThreadPoolExecutor(PLACES) as pool:
        tokens = [tokens_of(codec.info, 40, seed) for seed in range(PLACES)]
        streams = [stack.enter_context(codec.decode_stream()) for _ in range(PLACES)]
        first = [stream.push(each[:, :3]) for stream, each in zip(streams, tokens, strict=True)]
        assert comes_true(lambda: live_by_process(two) == {"0": PLACES / 2, "1": PLACES / 2})
        rest = pool.map(
            lambda stream, each: [stream.push(each[:, frame : frame + 1]) for frame in range(3, 40)],
            streams,
            tokens,
        )
        wholes = [codec.decode(each) for each in tokens]
        for begin, pieces, whole, each in zip(first, rest, wholes, tokens, strict=True):
            found = against_whole(codec, each, np.concatenate([begin, *pieces]), whole, wholes)
            assert found.ok, found


def test_all_processes_together_have_the_limit_and_refuse_at_once(two: TritonServer) -> None:
    raw = RawStreams(two, MODEL)
    streams, refused = [new_id() for _ in range(PLACES)], new_id()
    for stream in streams:
        raw.step(stream, FRAME, start=True)
    assert "the server is full: 6 of 6 streams are live" in raw.refusal(refused, FRAME, start=True)
    assert comes_true(lambda: raw.count("streams_live") == PLACES)
    assert comes_true(lambda: raw.count("streams_refused_total") == 1)
    assert raw.count("streams_places") == PLACES
    assert comes_true(lambda: sum(parse_steps(page(two.metrics_url), MODEL).values()) == PLACES)
    raw.step(streams[0], FRAME, end=True)
    raw.step(new_id(), FRAME, start=True)
    assert raw.refusal(new_id(), FRAME, start=True).startswith("UNAVAILABLE the server is full: 6 of 6")


def test_a_killed_process_gives_its_places_back(two: TritonServer) -> None:
    """Nobody restarts the server here, so the other process takes all streams."""
    raw = RawStreams(two, MODEL)
    streams = [new_id() for _ in range(PLACES)]
    for stream in streams:
        raw.step(stream, FRAME, start=True)
    first, second = processes_of(two)
    second.kill()
    assert comes_true(lambda: ended(second))
    alive = [stream for stream in streams if not raw.refusal(stream, FRAME)]
    assert len(alive) == PLACES / 2, "Triton deals streams out evenly"
    begun: list[int] = []
    while True:
        stream = new_id()
        try:
            raw.step(stream, FRAME, start=True)
        except InferenceServerException as error:
            if "the server is full: 6 of 6 streams are live" in str(error.message()):
                break
            continue  # Triton gave it to the process that was killed
        begun.append(stream)
    assert len(begun) == PLACES / 2
    for stream in (*alive, *begun):
        raw.step(stream, FRAME)
    assert not ended(first)


def test_a_server_with_one_process_shares_nothing(server: TritonServer) -> None:
    with Codec(NAME, server.url) as codec, codec.decode_stream() as stream:
        stream.push(FRAME)
        assert comes_true(lambda: counted(server, "streams_live", MODEL) > 0)
        assert 'process="' not in page(server.metrics_url)
        assert live_streams(page(server.metrics_url)) > 0
    assert not list((server.repository / MODEL).glob(".slots-*"))


def test_the_repository_stays_as_it_was_built(repository: Path) -> None:
    before = (repository / MODEL / "config.pbtxt").read_text()
    done = dry_run(NAME, repository, "--instances", "3")
    (folder,) = re.findall(r"--model-repository=(\S+)", done.stdout)
    written = Path(folder, MODEL, "config.pbtxt").read_text()
    assert "count: 3" in written
    assert "intra_op_thread_count" in written
    assert Path(folder, f"{NAME}_vocoder").is_symlink(), "only streams have several processes"
    assert Path(folder, MODEL, "1").resolve() == (repository / MODEL / "1").resolve()
    assert (repository / MODEL / "config.pbtxt").read_text() == before


def test_engines_are_refused_with_the_reason(tmp_path: Path) -> None:
    source = Path("model_repository").resolve() / "mimi_decode_stream"
    (tmp_path / source.name).symlink_to(source)
    with pytest.raises(ServerError, match=r"runs on the backend tensorrt.*serve it without --instances"):
        run_in_processes(tmp_path, [source.name], 2)
