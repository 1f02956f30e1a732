"""The load test: live streams through perf_analyzer, and the conclusions from their latencies."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from helpers.paths import ROOT
from helpers.servers.raw import comes_true

from scripts.common.realtime_streams import StreamResult
from scripts.common.speech_inputs import repeated, write_sequences
from scripts.common.stream_metrics import mean_batch, parse_steps, steps_by_batch
from scripts.load.perf_analyzer import PerfAnalyzerError, Result, StreamLoad, measure, read_answers
from scripts.load.plots import plot_latency
from scripts.load.streams import SweepPlan, stream_rows
from scripts.load.sweep import Point, Sweep
from tritone_client import Codec
from tritone_server.launcher import TritonServer

RATE_HZ, SPAN_S = 12.5, 20.0


def load_of(streams: int) -> StreamLoad:
    return StreamLoad("127.0.0.1:8001", "small_decode_stream", Path("inputs.json"), streams, RATE_HZ, SPAN_S)


def point(streams: int, p99_ms: float, answered: float = 1.0, errors: tuple[str, ...] = ()) -> Point:
    count = 0 if errors else round(streams * RATE_HZ * SPAN_S * answered)
    return Point(Result(load_of(streams), np.full(count, p99_ms), SPAN_S, errors))


def plan(codec: str, direction: str) -> SweepPlan:
    return SweepPlan(Path("none"), codec, direction, [1, 2, 4], SPAN_S)


def option(command: list[str], name: str) -> str:
    (value,) = [each.partition("=")[2] for each in command if each.startswith(f"--{name}=")]
    return value


def test_the_knee_is_the_most_streams_that_keep_up() -> None:
    points = [point(1, 10), point(4, 20), point(8, 79.9), point(12, 81), point(16, 200)]
    assert Sweep("small", "small_decode_stream", points).knee == 8


@pytest.mark.parametrize(
    "overloaded",
    [point(2, 80.0), point(2, 10, answered=0.98), point(2, 10, errors=("the server is full",))],
    ids=["late", "frames unanswered", "streams refused"],
)
def test_streams_that_do_not_keep_up_are_not_counted(overloaded: Point) -> None:
    assert Sweep("small", "small_decode_stream", [overloaded]).knee == 0
    assert Sweep("small", "small_decode_stream", [point(1, 10), overloaded]).knee == 1


def test_a_listener_with_late_frames_counts() -> None:
    late = StreamResult([10.0] * 100, late_frames=2)
    assert not Point(point(3, 10).result, listener=late).real_time
    assert Point(point(3, 10).result, listener=StreamResult([10.0] * 100, late_frames=1)).real_time
    assert Point(point(3, 10).result, listener=late).streams == 4


def test_one_unanswered_frame_at_the_edge_of_the_span_is_forgiven() -> None:
    short = Result(load_of(1), np.full(24, 10.0), 2.0)
    assert Point(short).real_time


@pytest.mark.parametrize(
    ("points", "over"),
    [
        ([point(1, 10)], False),
        ([point(1, 90)], False),
        ([point(1, 90), point(2, 10)], False),
        ([point(1, 90), point(2, 90)], True),
        ([point(1, 10), point(2, 90, answered=0.8)], True),
        ([point(1, 10), point(2, 10, errors=("the server is full",))], True),
    ],
    ids=["in time", "late once", "late, then not", "late twice", "saturated", "refused"],
)
def test_a_sweep_ends_when_more_streams_would_show_nothing_new(points: list[Point], over: bool) -> None:
    assert Sweep("small", "small_decode_stream", points).over == over


def test_only_answers_after_the_lead_and_within_the_windows_count(tmp_path: Path) -> None:
    second = 10**9
    sent_and_answered = [(0, 0.9), (0.5, 1.25), (2, 2.125), (2.5, 3.5)]
    requests = [
        {
            "timestamp": int(sent * second),
            "sequence_id": 7,
            "request_inputs": {"tokens": [1, 2]},
            "response_timestamps": [int(answered * second)],
            "response_outputs": [{"audio": [0.5, -0.5]}],
        }
        for sent, answered in sent_and_answered
    ]
    experiment = {"experiment": {}, "requests": requests, "window_boundaries": [0, second, 3 * second]}
    path = tmp_path / "answers.json"
    path.write_text(json.dumps({"experiments": [experiment], "version": ""}, separators=(",", ":")))
    latencies_ms, span_s = read_answers(path)
    assert (latencies_ms.tolist(), span_s) == ([750, 125], 2)


def test_every_run_has_sequence_ids_of_its_own_in_31_bits() -> None:
    commands = [load_of(4).command(Path("perf_analyzer"), Path("answers.json")) for _ in range(50)]
    ranges = [[int(each) for each in option(command, "sequence-id-range").split(":")] for command in commands]
    assert all(0 < first < last < 2**31 for first, last in ranges)
    assert len({first for first, _ in ranges}) > 40


def test_the_command_asks_for_the_rate_of_all_streams() -> None:
    command = load_of(4).command(Path("perf_analyzer"), Path("answers.json"))
    assert option(command, "request-rate-range") == "50"
    assert option(command, "num-of-sequences") == option(command, "max-threads") == "4"
    assert "--serial-sequences" in command


def test_sequences_are_of_different_content_and_length(tmp_path: Path) -> None:
    tokens = np.arange(2 * 60).reshape(2, 60)
    write_sequences(tmp_path / "inputs.json", "tokens", tokens.T[:, :, None])
    sequences = json.loads((tmp_path / "inputs.json").read_text())["data"]
    assert sequences[0][3] == {"tokens": {"content": [3, 63], "shape": [2, 1]}}
    assert len({len(sequence) for sequence in sequences}) == len(sequences)
    assert len({str(sequence[0]) for sequence in sequences}) == len(sequences)


def test_repeated_tokens_continue_every_codebook_in_order() -> None:
    tokens = np.array([[1, 2, 3], [7, 8, 9]])
    assert repeated(tokens, 5).tolist() == [[1, 2, 3, 1, 2], [7, 8, 9, 7, 8]]
    assert repeated(tokens, 2).tolist() == [[1, 2], [7, 8]]


def test_the_mean_batch_is_that_of_the_steps_between_two_readings() -> None:
    text = (
        "# TYPE tritone_stream_steps_total counter\n"
        'tritone_stream_steps_total{batch="1",model="a"} 30\n'
        'tritone_stream_steps_total{model="a",batch="4",process="0"} 3\n'
        'tritone_stream_steps_total{model="a",batch="4",process="1"} 7\n'
        'tritone_stream_steps_total{batch="9",model="b"} 5\n'
    )
    after = parse_steps(text, "a")
    assert after == {1: 30, 4: 10}
    assert mean_batch({1: 20}, after) == 2.5
    assert mean_batch(after, after) is None


def test_the_plot_shows_what_was_answered(tmp_path: Path) -> None:
    failed = point(4, 10, errors=("the server is full",))
    rows = [
        row
        for codec, points in {"small": [point(1, 10), point(2, 90), failed], "none": [failed]}.items()
        for row in stream_rows(Sweep(codec, f"{codec}_decode_stream", points), plan(codec, "decode"))
    ]
    assert [(row.codec, row.check, row.value) for row in rows] == [
        ("small", "realtime_streams", 1),
        ("small", "latency_p99", 10),
        ("small", "latency_p99", 90),
        ("none", "realtime_streams", 0),
    ]
    plot_latency(tmp_path / "load.png", rows)
    assert (tmp_path / "load.png").read_bytes().startswith(b"\x89PNG")
    plot_latency(tmp_path / "nothing.png", [])
    assert not (tmp_path / "nothing.png").exists()


def test_streams_that_are_encoded_have_rows_of_their_own() -> None:
    rows = stream_rows(Sweep("small", "small_encode_stream", [point(1, 10)]), plan("small", "encode"))
    assert [row.check for row in rows] == ["encode_realtime_streams", "encode_latency_p99"]


def test_real_streams_are_paced_and_answered(server: TritonServer, tmp_path: Path) -> None:
    model, inputs, streams = "small_nanocodec_decode_stream", tmp_path / "inputs.json", 3
    with Codec("small_nanocodec", server.url) as codec:
        samples = np.sin(np.arange(40 * codec.info.samples_per_frame) / 9).astype(np.float32)
        tokens = codec.encode(samples, codec.info.sample_rate_hz)
    write_sequences(inputs, "tokens", tokens.T[:, :, None])
    metrics = server.metrics_url
    before = steps_by_batch(metrics, model)
    result = measure(StreamLoad(server.url, model, inputs, streams, RATE_HZ, seconds=3))
    assert not result.errors
    assert result.percentile_ms(50) > 0
    assert comes_true(lambda: steps_by_batch(metrics, model) != before)
    assert 1 <= (mean_batch(before, steps_by_batch(metrics, model)) or 0) <= streams


def test_a_failed_stream_is_reported_with_the_servers_message(server: TritonServer, tmp_path: Path) -> None:
    with Codec("small_nanocodec", server.url) as codec:
        books = codec.info.num_codebooks
    write_sequences(tmp_path / "inputs.json", "tokens", np.full((12, books, 1), -1))
    result = measure(
        StreamLoad(
            server.url, "small_nanocodec_decode_stream", tmp_path / "inputs.json", 2, RATE_HZ, seconds=1
        )
    )
    assert result.percentile_ms(99) == float("inf")
    assert "tokens must be in 0.." in result.errors[0]


@pytest.mark.parametrize(
    ("url", "message"), [(None, "unknown model: 'none'"), ("127.0.0.1:9", "failed to connect")]
)
def test_a_missing_model_or_server_is_named(
    server: TritonServer, tmp_path: Path, url: str | None, message: str
) -> None:
    write_sequences(tmp_path / "inputs.json", "tokens", np.zeros((12, 4, 1), dtype=np.int64))
    with pytest.raises(PerfAnalyzerError, match=message):
        measure(StreamLoad(url or server.url, "none", tmp_path / "inputs.json", 1, RATE_HZ, seconds=1))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--streams", "0,2"], "at least 1"),
        (["--codec", "nanocodec", "--repository", "none", "--dry-run"], "the models are not built"),
    ],
)
def test_the_load_test_says_what_is_wrong(arguments: list[str], message: str) -> None:
    command = [sys.executable, "-m", "scripts.load", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode
    assert message in done.stderr
    assert "Traceback" not in done.stderr
