"""The benchmarks, on small networks: what they compute, never how long it takes."""

import re
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest
import torch

from scripts.bench import recipes as bench_recipes
from scripts.bench import sessions as bench_sessions
from scripts.bench.operators import Node, Profile, profile_of, profile_rows
from scripts.bench.recipes import recipe_rows
from scripts.bench.roofline import frame_gflop
from scripts.bench.scaling import scaling_rows
from scripts.bench.sessions import OfflineSession
from scripts.bench.steps import Sound
from scripts.common.prepare import MEASURED
from tritone_build.codecs import outline_of
from tritone_build.graphs.steps import DecodeStep
from tritone_client import Codec
from tritone_server.launcher import TritonServer

NAME = "small_nanocodec"


@pytest.fixture
def sound(server: TritonServer, repository: Path, monkeypatch: pytest.MonkeyPatch) -> Sound:
    monkeypatch.setattr(bench_sessions, "REPOSITORY", repository)
    monkeypatch.setattr(bench_recipes, "REPOSITORY", repository)
    with Codec(NAME, server.url) as codec:
        noise = 0.1 * np.random.default_rng(0).standard_normal(120 * codec.info.samples_per_frame)
        audio = noise.astype(np.float32)
        return Sound(codec.info, audio, codec.encode(audio, codec.info.sample_rate_hz))


def test_longer_windows_are_nearer_to_the_whole_and_the_receptive_field_is_exact(sound: Sound) -> None:
    rows = recipe_rows(NAME, 1, sound, quick=True)
    checks = [row.check for row in rows]
    assert checks[0] == "decode_step_vs_window_0"
    assert checks[-1] == f"decode_step_vs_window_{sound.info.lookaround_frames}"
    errors_db = [float(row.how.split(": ")[1].split(" dB")[0]) for row in rows]
    assert errors_db[0] < 40
    assert errors_db[-1] > 110


def test_concatenated_pieces_continue_every_codebook_in_order(
    sound: Sound, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bench_recipes, "_PIECE", 100)
    session = OfflineSession(NAME, 1)
    with patch.object(session, "decode", wraps=session.decode) as decode:
        bench_recipes._concatenated_row(NAME, session, 1, sound)
    whole, *pieces = (call.args[0] for call in decode.call_args_list)
    assert np.array_equal(whole, np.tile(sound.tokens, (1, 2))[:, :200])
    assert np.array_equal(whole, np.concatenate(pieces, axis=1))


def test_curves_run_along_frames_rows_streams_and_threads(sound: Sound) -> None:
    rows = scaling_rows(NAME, 2, sound)
    curves: dict[str, list[float]] = {}
    for row in rows:
        curves.setdefault(row.check, []).append(row.at or 0)
        assert row.value > 0
    assert list(curves) == [f"frame_ms_by_{axis}" for axis in ("frames", "rows", "streams", "threads")]
    assert all(places == sorted(places) and len(places) > 1 for places in curves.values())


def test_arithmetic_of_a_frame_is_counted_without_weights() -> None:
    assert frame_gflop("nanocodec_mini", "decode_stream") == pytest.approx(0.079, rel=0.05)
    assert frame_gflop("mimi", "decode_stream") == pytest.approx(0.49, rel=0.05)


def test_the_page_on_capacity_states_what_a_stream_costs() -> None:
    page = Path("docs/capacity.md").read_text()
    row = r"^\| `(\w+)` \| ([\d.]+) ms \| ([\d.]+) GFLOP \| ([\d.]+) MB \| ([\d.]+) MB \|$"
    rows = re.findall(row, page, re.MULTILINE)
    assert len(rows) == 14
    for codec, *stated in rows:
        outline = outline_of(MEASURED[codec])
        weights = sum(parameter.numel() * parameter.itemsize for parameter in outline.decoder.parameters())
        with torch.device("meta"):
            past = DecodeStep(outline).packing.state_bytes
        frame_ms = 1000 * outline.geometry.samples_per_frame / outline.geometry.sample_rate_hz
        costs = [frame_ms, frame_gflop(codec, "decode_stream"), weights / 1e6, past / 1e6]
        assert [float(each) for each in stated] == pytest.approx(costs, rel=0.01), codec


def test_operators_and_products_take_a_part_of_a_step(sound: Sound, repository: Path) -> None:
    profile = profile_of(NAME, "decode_stream", sound.tokens[None, :, :1], 1, repository)
    assert {"Gather", "Add"} <= {node.operator for node in profile.nodes}
    assert 0 < sum(node.ms for node in profile.nodes) < profile.run_ms < profile.whole_ms
    counted = frame_gflop("nanocodec_mini", "decode_stream")
    assert sum(node.gflop for node in profile.nodes) < counted
    step, *rows = profile_rows(NAME, profile, "small")
    operators = [row for row in rows if row.check.startswith("operator: ")]
    assert sum(row.value for row in operators) == pytest.approx(step.value)
    assert [row.check for row in operators][-2:] == [
        "operator: between operators",
        "operator: outside of ONNX Runtime",
    ]
    assert any(row.check.startswith("product: ") and "GFLOP/s" in row.how for row in rows)


def test_small_operators_are_summed_up() -> None:
    nodes = [
        Node("Conv", "Conv [1, 2, 9] by [4, 2, 3]", 3.0, 0.6, 0.03),
        Node("Conv", "Conv [1, 2, 9] by [4, 2, 3]", 1.0, 0.2, 0.01),
        Node("Add", "", 2.0, 0.0, 0.02),
        Node("Sqrt", "", 0.005, 0.0, 0.0),
    ]
    rows = profile_rows("small", Profile(7.0, 6.5, 5.5, nodes), "a step")
    assert [(row.check, round(row.value, 3), row.how) for row in rows] == [
        (
            "step_profile",
            7.0,
            "a step; 5.5 ms without the profiler; 4 operators, 1 of them under 10 us, 0.0 ms together",
        ),
        ("operator: Conv", 4.0, "2 in a step, 200 GFLOP/s, 10 GB/s"),
        ("operator: Add", 2.0, "1 in a step, 10 GB/s"),
        ("operator: others", 0.005, "1 in a step"),
        ("operator: between operators", 0.495, "includes the profiler's own work"),
        ("operator: outside of ONNX Runtime", 0.5, "our handling of stream state"),
        ("product: Conv [1, 2, 9] by [4, 2, 3]", 4.0, "2 in a step, 200 GFLOP/s, 10 GB/s"),
    ]
