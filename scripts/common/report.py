"""Rows of measurements: one table on the terminal, one JSON file under reports/.

A report is a list of runs: how each was made, and the rows of it that no later one has replaced.
"""

import importlib.metadata
import json
import math
import os
import platform
import re
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

__all__ = ["Row", "in_part", "read_report", "step", "write_parts", "write_report"]

_FILE_WIDTH = 150
_BEGUN = datetime.now(tz=UTC)
_BEGUN_S = time.monotonic()


@dataclass(frozen=True)
class Row:
    """One measured figure; ``target`` says what is asked of it, ``how`` what it was measured on.

    ``low`` and ``high`` are the ends of it over repeats, where there were any; ``at`` is its place on a
    curve, where it is one of many; ``part`` is what of a measurement gave it, where one can be asked for.
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

    @property
    def told(self) -> str:
        """The figure, and how far it holds."""
        ends = "" if self.low is None or self.high is None else f" ({self.low:.3g} to {self.high:.3g})"
        return f"{self.value:.4g}{ends}"


def in_part(part: str, rows: Sequence[Row]) -> list[Row]:
    """The rows, as what a part of a measurement gave."""
    return [replace(row, part=part) for row in rows]


@contextmanager
def step(console: Console, doing: str) -> Iterator[None]:
    """Show what is being done: a spinner on a terminal, a line elsewhere."""
    if not console.is_terminal:
        console.print(f"{doing} ...")
    with console.status(doing):
        yield


def _finite(value: float) -> float:
    """JSON has no infinity: equal signals are reported at 999 dB, broken ones at -999."""
    if math.isfinite(value):
        return value
    return 999.0 if value > 0 else -999.0


def _made() -> dict[str, str]:
    """When, by which command, within what time, on what."""
    packages = ("onnxruntime", "torch", "numpy", "tritonclient")
    versions = [f"{package} {importlib.metadata.version(package)}" for package in packages]
    return {
        "date": datetime.now(tz=UTC).date().isoformat(),
        "begun": _BEGUN.isoformat(),
        "command": " ".join([Path(sys.argv[0]).name, *sys.argv[1:]]),
        "took": f"{(time.monotonic() - _BEGUN_S) / 60:.1f} min",
        "machine": f"{_processor()}, {os.cpu_count()} cores, no GPU used",
        "versions": ", ".join(["Python " + platform.python_version(), *versions]),
    }


def _processor() -> str:
    listed = Path("/proc/cpuinfo")
    names = re.findall(r"model name\s*: (.+)", listed.read_text()) if listed.exists() else []
    return names[0] if names else platform.processor() or platform.machine()


def read_report(name: str) -> tuple[list[dict[str, str]], list[Row]]:
    """What :func:`write_report` wrote: how its runs were made, and the rows of all of them.

    Raises:
        FileNotFoundError: the command that makes it has not run.
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
        rows: measured now.
        console: where they are printed.
        merge: they replace what the report had of their codecs and parts, and leave the rest as it is; else
            they replace all of it.
    """
    table = Table("codec", "check", "value", "unit", "target", "", "how", title=name)
    for row in rows:
        mark = "[green]ok[/]" if row.ok else "[red]short[/]"
        table.add_row(row.codec, row.check, row.told, row.unit, row.target, mark, row.how)
    (console if console.is_terminal else Console(width=_FILE_WIDTH)).print(table)
    path = _path(name)
    path.parent.mkdir(exist_ok=True)
    runs = _left(_runs(path), rows) if merge and path.exists() else []
    made, new = _made(), [asdict(row) | {"value": _finite(row.value)} for row in rows]
    if runs and runs[-1]["made"].get("begun") == made["begun"]:  # this program's, which writes as it goes on
        new = runs.pop()["rows"] + new
    runs.append({"made": made, "rows": new})
    path.write_text(json.dumps({"runs": runs}, indent=2) + "\n")
    console.print(f"written to {path}")
    return path


def write_parts(name: str, parts: Iterable[list[Row]], console: Console) -> bool:
    """Write each part once it is measured, since the whole takes long; whether all rows are well."""
    well = True
    for rows in parts:
        write_report(name, rows, console, merge=True)
        well = well and all(row.ok for row in rows)
    return well


def _path(name: str) -> Path:
    return Path("reports") / f"{name}.json"


def _runs(path: Path) -> list[dict[str, Any]]:
    """Of the report; one that is older than runs was the only one."""
    report = json.loads(path.read_text())
    runs: list[dict[str, Any]] = report.get("runs", [report])
    return runs


def _left(runs: list[dict[str, Any]], rows: Sequence[Row]) -> list[dict[str, Any]]:
    """The runs that still have rows when these have replaced those of their codecs and parts."""
    parts, checks = ({(row.codec, getattr(row, name)) for row in rows} for name in ("part", "check"))

    def stays(row: dict[str, Any]) -> bool:
        # A row that is older than parts is replaced by one of its name.
        part = row.get("part")
        return (row["codec"], part) not in parts if part else (row["codec"], row["check"]) not in checks

    left = [run | {"rows": [row for row in run["rows"] if stays(row)]} for run in runs]
    return [run for run in left if run["rows"]]
