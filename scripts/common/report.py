"""Results of measurements: a table on the terminal and a JSON file under reports/.

A report is a list of runs. Each run says how it was made, and keeps those of its rows that no later run has
replaced.
"""

import importlib.metadata
import json
import math
import os
import platform
import re
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

__all__ = ["Row", "progress", "read_report", "with_part", "write_parts", "write_report"]

_FILE_WIDTH = 150
_STARTED = datetime.now(tz=UTC)
_STARTED_S = time.monotonic()


@dataclass(frozen=True)
class Row:
    """One measured figure.

    Attributes:
        codec: that was measured; ``all`` or ``machine`` if the figure belongs to no single codec.
        check: name of the figure.
        value: in ``unit``.
        unit: of the value.
        target: the limit that it must meet, in words; ``none`` if there is no limit.
        ok: whether it meets the target.
        how: the conditions of the measurement.
        low: lowest value over repeats, if it was repeated.
        high: highest value over repeats.
        at: position on the x axis, if the figure is a point of a curve.
        part: the part of a measurement that it belongs to; parts can be measured one at a time.
        figures: further figures of the same measurement, by name; None where there is no finite one.
    """

    codec: str
    check: str
    value: float
    unit: str
    target: str
    ok: bool
    how: str
    low: float | None = None
    high: float | None = None
    at: float | None = None
    part: str = ""
    figures: Mapping[str, float | None] = field(default_factory=dict)

    @property
    def formatted(self) -> str:
        """The value, with its range over repeats in brackets."""
        ends = "" if self.low is None or self.high is None else f" ({self.low:.3g} to {self.high:.3g})"
        return f"{self.value:.4g}{ends}"


def with_part(part: str, rows: Sequence[Row]) -> list[Row]:
    """The rows, marked as belonging to a part of a measurement."""
    return [replace(row, part=part) for row in rows]


@contextmanager
def progress(console: Console, activity: str) -> Iterator[None]:
    """Show the current activity: as a spinner on a terminal, else as a line."""
    if not console.is_terminal:
        console.print(f"{activity} ...")
    with console.status(activity):
        yield


def _finite(value: float) -> float:
    """The value, with 999 for infinity and -999 for minus infinity or NaN, which JSON cannot hold."""
    if math.isfinite(value):
        return value
    return 999.0 if value > 0 else -999.0


def _for_json(row: Row) -> dict[str, Any]:
    figures = {
        name: each if each is not None and math.isfinite(each) else None for name, each in row.figures.items()
    }
    return asdict(row) | {"value": _finite(row.value), "figures": figures}


def _provenance() -> dict[str, str]:
    """How this run was made: date, command, duration, machine and versions."""
    packages = ("onnxruntime", "torch", "numpy", "tritonclient")
    versions = [f"{package} {importlib.metadata.version(package)}" for package in packages]
    return {
        "date": datetime.now(tz=UTC).date().isoformat(),
        "begun": _STARTED.isoformat(),
        "command": " ".join([_program(), *sys.argv[1:]]),
        "took": f"{(time.monotonic() - _STARTED_S) / 60:.1f} min",
        "machine": f"{_processor()}, {os.cpu_count()} cores, no GPU used",
        "versions": ", ".join(["Python " + platform.python_version(), *versions]),
    }


def _program() -> str:
    """How the running program was called; after ``python -m``, ``sys.argv`` names only a file."""
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    return f"python -m {spec.name.removesuffix('.__main__')}" if spec else Path(sys.argv[0]).name


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    names = re.findall(r"model name\s*: (.+)", cpuinfo.read_text()) if cpuinfo.exists() else []
    return names[0] if names else platform.processor() or platform.machine()


def read_report(name: str) -> tuple[list[dict[str, str]], list[Row]]:
    """Read a report: how each of its runs was made, and the rows of all runs.

    Raises:
        FileNotFoundError: the report has not been written yet; the message names the command that does.
    """
    path = _path(name)
    if not path.exists():
        raise FileNotFoundError(f"{path} is missing; 'make {name}' writes it")
    runs = _runs(path)
    return [run["made"] for run in runs], [Row(**row) for run in runs for row in run["rows"]]


def write_report(name: str, rows: list[Row], console: Console, merge: bool = False) -> Path:
    """Print the rows, write them to ``reports/<name>.json`` and return that path.

    Args:
        name: of the report.
        rows: the new results.
        console: where they are printed.
        merge: replace only the rows of the same codecs and parts, and keep all others; by default the new
            rows replace the whole report.
    """
    table = Table("codec", "check", "value", "unit", "target", "", "how", title=name)
    for row in rows:
        mark = "[green]ok[/]" if row.ok else "[red]short[/]"
        table.add_row(row.codec, row.check, row.formatted, row.unit, row.target, mark, row.how)
    (console if console.is_terminal else Console(width=_FILE_WIDTH)).print(table)
    path = _path(name)
    path.parent.mkdir(exist_ok=True)
    runs = _remaining(_runs(path), rows) if merge and path.exists() else []
    made, new = _provenance(), [_for_json(row) for row in rows]
    if runs and runs[-1]["made"].get("begun") == made["begun"]:  # written by this process
        new = runs.pop()["rows"] + new
    runs.append({"made": made, "rows": new})
    path.write_text(json.dumps({"runs": runs}, indent=2) + "\n")
    console.print(f"written to {path}")
    return path


def write_parts(name: str, parts: Iterable[list[Row]], console: Console) -> bool:
    """Write each part as soon as it is measured; return whether every row meets its target."""
    ok = True
    for rows in parts:
        write_report(name, rows, console, merge=True)
        ok = ok and all(row.ok for row in rows)
    return ok


def _path(name: str) -> Path:
    return Path("reports") / f"{name}.json"


def _runs(path: Path) -> list[dict[str, Any]]:
    """The runs in a file; a report of the older format is a single run."""
    report = json.loads(path.read_text())
    runs: list[dict[str, Any]] = report.get("runs", [report])
    return runs


def _remaining(runs: list[dict[str, Any]], rows: Sequence[Row]) -> list[dict[str, Any]]:
    """The runs without the rows that these replace; a run without rows is dropped."""
    parts, checks = ({(row.codec, getattr(row, name)) for row in rows} for name in ("part", "check"))

    def stays(row: dict[str, Any]) -> bool:
        # A row of the older format has no part: a row with the same check replaces it.
        part = row.get("part")
        return (row["codec"], part) not in parts if part else (row["codec"], row["check"]) not in checks

    kept = [run | {"rows": [row for row in run["rows"] if stays(row)]} for run in runs]
    return [run for run in kept if run["rows"]]
