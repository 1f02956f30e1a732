"""The GPU of this machine, as a stand-in for nvidia-smi describes it."""

import os
from pathlib import Path

import pytest

from tritone_runtime.errors import NoGpuError
from tritone_runtime.gpu import Gpu, gpu_here


def says(folder: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    tool = folder / "nvidia-smi"
    tool.write_text(f"#!/bin/sh\n{script}\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")


def test_the_first_gpu_is_described(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = "NVIDIA L4, 8.9, 23034, 580.65.06\\nNVIDIA H200, 9.0, 143771, 580.65.06\\n"
    says(tmp_path, monkeypatch, f"printf '{lines}'")
    assert gpu_here() == Gpu("NVIDIA L4", (8, 9), 23034 << 20, "580.65.06")


@pytest.mark.parametrize("script", ["exit 9", "true", "echo no devices were found", "echo a, b, c, d"])
def test_without_a_gpu_it_is_told(script: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    says(tmp_path, monkeypatch, script)
    with pytest.raises(NoGpuError, match="no NVIDIA GPU that nvidia-smi knows"):
        gpu_here()
