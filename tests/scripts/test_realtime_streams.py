"""Real-time streams on a real server: a few, too many, many in turn, and on a server that has ended."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from scripts.common.realtime_streams import ScheduledUtterance, StreamResult, run_streams, summary_of
from scripts.common.speech_inputs import write_requests
from scripts.load import offline as load_offline
from scripts.load import overload as load_overload
from scripts.load import startup as load_startup
from scripts.load.overload import overload_rows
from scripts.load.perf_analyzer import ClosedLoop, measure
from scripts.load.plots import plot_memory
from scripts.load.soak import Soak, soak_of, soak_rows
from scripts.load.startup import first_audio_rows
from tritone_client import Codec, ServerUnavailableError
from tritone_server.launcher import TritonServer
from tritone_server.stream_check import Limit, compared

NAME = "small_nanocodec"


@pytest.fixture(scope="module")
def tokens(server: TritonServer) -> NDArray[np.int64]:
    """Tokens of noise, [K, 30]."""
    with Codec(NAME, server.url) as codec:
        noise = 0.1 * np.random.default_rng(0).standard_normal(30 * codec.info.samples_per_frame)
        return codec.encode(noise.astype(np.float32), codec.info.sample_rate_hz)


def test_streams_of_a_soak_equal_their_offline_decode(server: TritonServer) -> None:
    with Codec("small_mimi", server.url) as codec:  # at 12.5 frames a second: streams end before others start
        noise = 0.1 * np.random.default_rng(0).standard_normal(12 * codec.info.samples_per_frame)
        tokens = codec.encode(noise.astype(np.float32), codec.info.sample_rate_hz)
        soak = soak_of(codec, server, tokens, streams=2, seconds=3)
    assert len(soak.results) > 2
    assert all(each.ok for each in soak.comparisons)
    rows = {row.check: row for row in soak_rows(NAME, soak)}
    assert rows["soak_failed"].ok
    assert rows["soak_worst_stream"].ok
    assert "too short to judge" in rows["soak_memory_growth"].how


def test_a_soak_finds_memory_that_grows_and_samples_that_are_lost(tmp_path: Path) -> None:
    memory = [(float(at), 100.0 + max(0, at - 120) / 20) for at in range(0, 400, 5)]
    whole = np.random.default_rng(0).standard_normal(100).astype(np.float32)
    comparisons = [compared(whole, whole[:length], 10, Limit(110)) for length in (100, 70)]
    soak = Soak(1, 400, [StreamResult([1.0])], comparisons, memory)
    rows = {row.check: row for row in soak_rows("small", soak)}
    assert rows["soak_memory_growth"].value == pytest.approx(11.7, abs=2)
    assert not rows["soak_memory_growth"].ok
    assert not rows["soak_worst_stream"].ok
    assert "frame 7 is the first wrong one: missing" in rows["soak_worst_stream"].how
    plot_memory(tmp_path / "memory.png", "small", soak)
    assert (tmp_path / "memory.png").read_bytes().startswith(b"\x89PNG")


def test_first_audio_is_timed_beside_live_streams(
    server: TritonServer, tokens: NDArray[np.int64], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(load_startup, "_QUICK_OPENINGS", 4)
    with Codec(NAME, server.url) as codec:
        idle, busy = first_audio_rows(codec, server, tokens, (0, 2), quick=True)
    assert idle.ok
    assert busy.ok
    assert 0 < idle.value <= (idle.high or 0)


def test_twice_as_many_streams_as_a_server_takes_are_refused(
    repository: Path, tokens: NDArray[np.int64], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(load_overload, "tokens_of", lambda codec: tokens)
    rows = {row.check: row for row in overload_rows(repository, NAME, places=2, seconds=6)}
    assert rows["overload_refused"].value == 2
    assert "0 live ones failed" in rows["overload_misses"].how
    assert 0 < rows["overload_refusal"].value < float("inf")


def test_a_server_that_has_ended_is_an_error_and_has_infinite_latency(tokens: NDArray[np.int64]) -> None:
    with pytest.raises(ServerUnavailableError):
        run_streams(NAME, "127.0.0.1:9", [ScheduledUtterance(tokens)])
    assert summary_of([StreamResult(error="gone")]).p99_ms == float("inf")


def test_whole_utterances_are_sent_in_a_closed_loop(server: TritonServer, tmp_path: Path) -> None:
    with Codec(NAME, server.url) as codec:
        books = codec.info.num_codebooks
    write_requests(tmp_path / "inputs.json", np.ones((books, 20), np.int64), [3, 20, 7])
    result = measure(ClosedLoop(server.url, f"{NAME}_decode", tmp_path / "inputs.json", 2, seconds=2))
    assert not result.errors
    assert result.achieved_hz > 0


def test_only_the_vocoder_gets_a_second_instance(repository: Path, tmp_path: Path) -> None:
    load_offline._copy_with_instances(repository, NAME, tmp_path, 2)
    configs = {path.parent.name: path.read_text() for path in tmp_path.glob("*/config.pbtxt")}
    vocoder = f"{NAME}_vocoder"
    assert [name for name, config in configs.items() if "count: 2" in config] == [vocoder]
    for name, config in configs.items():
        before = (repository / name / "config.pbtxt").read_text()
        assert config == before.replace("count: 1", "count: 2" if name == vocoder else "count: 1")
