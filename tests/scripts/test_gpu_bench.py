"""The measurements on a GPU, rehearsed on the CPU."""

import json
import subprocess
import sys

import pytest
import torch
from helpers.paths import ROOT


def run(*options: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "scripts.gpu", *options]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_without_a_gpu_the_command_says_how_to_rehearse() -> None:
    done = run()
    assert done.returncode == 1
    assert "finds no CUDA GPU; --device cpu rehearses without one" in done.stderr


def test_a_rehearsal_times_every_runtime_and_compares_fp16_with_fp32() -> None:
    done = run("--device", "cpu", "--codec", "nanocodec_mini", "--runs", "1", "--most", "1")
    assert done.returncode == 0, done.stderr
    rows = json.loads((ROOT / "reports" / "gpu.json").read_text())["rows"]
    models = {f"nanocodec_mini_{role}" for role in ("vocoder", "encode", "decode_stream")}
    runtimes = {"torch_fp32", "torch_fp16", "onnxruntime"}
    assert {(row["model"], row["runtime"]) for row in rows} == {(m, r) for m in models for r in runtimes}
    for row in rows:
        assert row["ms"] > 0
        # One frame of random tokens, which mini makes nearly silent.
        assert row["fidelity"] >= (0.9 if "encode" in row["model"] else 40)
