"""The measurements on a GPU, rehearsed on the CPU."""

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.bare_machine import BareMachine
from helpers.paths import ROOT

from scripts.common.waiting import seconds_until
from scripts.gpu.points import PARTS, Point, Settings, planned
from scripts.gpu.workers import Workers

LONGEST_S = 900
REHEARSAL = ("-m", "scripts.gpu", "--device", "cpu", "--tiny", "--minutes", "60", "--codec", "small_mimi")
SMALLEST = (*REHEARSAL[:-1], "small_nanocodec")


@pytest.fixture
def machine(tmp_path: Path) -> BareMachine:
    return BareMachine(tmp_path)


def lines_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_bare_machine_lacks_what_is_neither_installed_nor_carried(machine: BareMachine) -> None:
    done = machine.run("-c", "import torch, tritonclient.grpc\nimport onnxscript")
    assert "No module named 'onnxscript'" in done.stderr


def test_a_bare_machine_rehearses_every_part(machine: BareMachine) -> None:
    done = machine.run(*REHEARSAL, "--out", "out")
    header, *lines = lines_of(machine.work / "out" / "gpu.jsonl")
    assert done.returncode == 0, done.stderr
    assert header["header"]["device"] == "CPU"
    assert header["header"]["versions"]["torch"] == torch.__version__
    assert [line for line in lines if "error" in line] == []
    measured = {(line["part"], line["model"], line["kind"]) for line in lines if "value" in line}
    kinds = ("eager", "folded", "graph", "runtime", "compiled", "compiled_graph")
    assert measured == {
        *(("torch", model, kind) for model in ("decode_stream", "encode_stream") for kind in kinds),
        *(("torch", "vocoder", kind) for kind in ("eager", "graph")),
        *(("state", "decode_stream", kind) for kind in ("in_place", "implicit", "gather_only")),
        *(
            ("precision", model, "fp16_against_fp32")
            for model in ("decode_stream", "encode_stream", "vocoder")
        ),
        *(("precision", model, "device_against_cpu") for model in ("decode_stream", "encode_stream")),
        *(
            ("live", "decode_stream", f"{kind}_{what}")
            for kind in ("server", "process")
            for what in ("p50", "p99", "first_audio", "requests", "knee")
        ),
    }
    skipped = {line["kind"]: line["skipped"] for line in lines if "skipped" in line}
    assert skipped.keys() == {"onnxruntime", "tensorrt"}
    assert "needs onnxscript and onnx_ir" in skipped["onnxruntime"]
    assert lines == lines_of(machine.work / "reports" / "gpu.jsonl")[1:]
    check_values(lines)
    assert done.stdout.count("fp16_against_fp32") == 6, "three lines, and three rows of the table"


def check_values(lines: list[dict[str, Any]]) -> None:
    for line in lines:
        assert {"part", "codec", "model", "kind", "weights", "frames", "batch", "device"} <= line.keys()
        if line.get("unit") in ("ms", "requests/s"):
            assert line["value"] > 0
        if line["kind"] == "fp16_against_fp32":
            assert line["value"] > (0.9 if line["model"] == "encode_stream" else 50)
        if line["kind"] == "device_against_cpu":
            assert line["value"] == (1 if line["model"] == "encode_stream" else 999)
    live = [line for line in lines if line["kind"] == "server_p99"]
    assert {(line["batch"], line["frames"]) for line in live} == {(2, 1), (2, 2)}


def test_an_interrupted_run_reports_what_it_has_and_what_it_has_not(machine: BareMachine) -> None:
    command = machine.command(*SMALLEST)  # all parts: minutes of work are left after the first figure
    with subprocess.Popen(
        command, cwd=machine.work, env=machine.variables, stdout=subprocess.PIPE
    ) as running:
        report = machine.work / "reports" / "gpu.jsonl"
        seconds_until(lambda: report.exists() and '"value"' in report.read_text(), LONGEST_S)
        running.send_signal(signal.SIGINT)
        output = running.communicate()[0].decode()
    assert running.returncode == 130
    lines = lines_of(report)[1:]
    assert "value" in lines[0]
    assert lines[-1]["skipped"] == "interrupted"
    assert len([line for line in lines if "error" in line]) == 0
    assert "skipped: " in output


def test_points_that_have_no_time_are_skipped(machine: BareMachine) -> None:
    machine.run(*SMALLEST, "--minutes", "0")
    lines = lines_of(machine.work / "reports" / "gpu.jsonl")[1:]
    assert len(lines) > 10
    assert {line["skipped"] for line in lines} == {"out of time"}


def test_a_later_run_continues_where_an_earlier_one_ended(tmp_path: Path) -> None:
    """In this environment, which has what exports to ONNX."""
    command = [sys.executable, *SMALLEST, "--only", "others", "--continue"]
    kinds = []
    for _ in range(2):
        done = subprocess.run(
            command, cwd=tmp_path, env=BareMachine.path_of_ours(), capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        lines = lines_of(tmp_path / "reports" / "gpu.jsonl")
        kinds.append([line["kind"] for line in lines if "value" in line])
    assert kinds == [["onnxruntime"] * 2] * 2


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_without_a_gpu_the_command_says_how_to_rehearse() -> None:
    command = [sys.executable, "-m", "scripts.gpu"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "finds no CUDA GPU; --device cpu --tiny rehearses without one" in done.stderr


def test_a_point_that_fails_or_never_ends_costs_itself_only() -> None:
    point = Point("precision", "small_nanocodec", "vocoder", "fp16_against_fp32", 2, 0)
    unknown = Point("precision", "small_nanocodec", "no_such_model", "fp16_against_fp32", 2, 0)
    with Workers(Settings("cpu", tiny=True)) as workers:
        given_up = [str(outcome) for outcome in workers.outcomes(point, 0)]
        (failed,) = workers.outcomes(unknown, LONGEST_S)
        (reading,) = workers.outcomes(point, LONGEST_S)
    assert given_up == ["given up after 0 s"]
    assert isinstance(failed, RuntimeError)
    assert not isinstance(reading, RuntimeError)
    assert reading.unit == "dB"


def test_the_most_important_points_come_first() -> None:
    points = planned(["mimi", "nanocodec"], PARTS, Settings("cuda", tiny=False))
    assert [(point.codec, point.kind, point.batch) for point in points[:4]] == [
        ("mimi", "graph", 1),
        ("mimi", "graph", 256),
        ("nanocodec", "graph", 1),
        ("nanocodec", "graph", 256),
    ]
    parts = [point.part for point in points]
    assert parts.index("precision") < parts.index("live") < parts.index("state") < parts.index("others")
