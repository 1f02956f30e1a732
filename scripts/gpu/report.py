"""The results: one line of JSON for each value, written at once, and a table at the end."""

import importlib.metadata
import json
import platform
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from scripts.gpu.points import Point, Reading, Settings, SkippedError
from scripts.gpu.workers import Outcome

__all__ = ["Report", "measured_before"]

_PACKAGES = (
    "torch",
    "triton",
    "numpy",
    "onnx",
    "onnxruntime",
    "onnxruntime-gpu",
    "safetensors",
    "tensorrt",
    "tritonclient",
    "nvidia-cudnn-cu13",
    "nvidia-cublas",
)
_COLUMNS = ("part", "codec", "model", "kind", "weights", "frames", "batch")
_WIDTH = 150


class Report:
    """Lines in files and on the terminal.

    Args:
        files: JSON lines are appended to each.
        settings: of the run.
    """

    def __init__(self, files: Sequence[Path], settings: Settings):
        for path in files:
            path.parent.mkdir(parents=True, exist_ok=True)
        self._files = [path.open("a") for path in files]
        self._device = _device_name(settings.device)
        self._lines: list[dict[str, Any]] = []
        self._write({"header": {**asdict(settings), "device": self._device, **_machine(settings.device)}})

    def add(self, point: Point, outcome: Outcome) -> None:
        """Write one outcome of a point."""
        line: dict[str, Any] = {**point.key, "device": self._device}
        if isinstance(outcome, Reading):
            line |= {"value": round(outcome.value, 4), "unit": outcome.unit, "note": outcome.note}
            line |= {"kind": outcome.kind} if outcome.kind else {}
            line |= {} if outcome.batch is None else {"batch": outcome.batch}
            line |= {} if outcome.frames is None else {"frames": outcome.frames}
        else:
            line |= {"skipped" if isinstance(outcome, SkippedError) else "error": str(outcome)}
        self._lines.append(line)
        self._write(line)
        print(_text(line), flush=True)

    def _write(self, line: Mapping[str, Any]) -> None:
        for file in self._files:
            file.write(json.dumps(line) + "\n")
            file.flush()

    def print_table(self, console: Console) -> None:
        """Print all values, then the number of points without one."""
        table = Table(*_COLUMNS, "value", title=self._device)
        for line in self._lines:
            if "value" in line:
                table.add_row(*(str(line[key]) for key in _COLUMNS), f"{line['value']:.3f} {line['unit']}")
        (console if console.is_terminal else Console(width=_WIDTH)).print(table)
        for what in ("error", "skipped"):
            count = sum(what in line for line in self._lines)
            if count:
                console.print(f"{what}: {count}")

    @property
    def only_errors(self) -> bool:
        """Whether points failed and none gave a value."""
        return not any("value" in line for line in self._lines) and any(
            "error" in line for line in self._lines
        )


def measured_before(path: Path, points: Iterable[Point], settings: Settings) -> set[Point]:
    """Those of the points that an earlier run on this device has finished."""
    device, done = _device_name(settings.device), []
    for text in path.read_text().splitlines() if path.exists() else []:
        line = json.loads(text)
        if line.get("device") == device and "value" in line:
            done.append(line)
    return {point for point in points if any(_covers(line, point) for line in done)}


def _covers(line: Mapping[str, Any], point: Point) -> bool:
    key = dict(point.key)
    if not point.batch:  # such a point ends with the value that bears its own name
        key["kind"], key["batch"] = f"{point.kind}_knee", line["batch"]
    return all(line[name] == value for name, value in key.items())


def _text(line: Mapping[str, Any]) -> str:
    name = " ".join(str(line[key]) for key in ("part", "codec", "model", "kind", "weights"))
    frames = "" if line["frames"] == 1 else f" x {line['frames']} frames"
    if "value" in line:
        return f"{name} {line['batch']}{frames}: {line['value']:.3f} {line['unit']} ({line['note']})"
    what = "error" if "error" in line else "skipped"
    return f"{name} {line['batch']}{frames}: {what}: {line[what]}"


def _device_name(device: str) -> str:
    return torch.cuda.get_device_name() if device == "cuda" else "CPU"


def _machine(device: str) -> dict[str, Any]:
    """When and with what the run measures."""
    facts: dict[str, Any] = {
        "time": datetime.now(tz=UTC).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "versions": {name: version for name in _PACKAGES if (version := _version(name))},
        "commit": _output(["git", "rev-parse", "--short", "HEAD"]),
    }
    if device == "cuda":
        properties = torch.cuda.get_device_properties(0)
        facts |= {
            "capability": f"{properties.major}.{properties.minor}",
            "memory_gb": round(properties.total_memory / 1e9, 1),
            "cuda": torch.version.cuda,
            "driver": _output(["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]),
        }
    return facts


def _version(package: str) -> str | None:
    if package == "torch":
        return torch.__version__  # it tells the build for CUDA, which the package's metadata may not
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _output(command: Sequence[str]) -> str | None:
    try:
        done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
