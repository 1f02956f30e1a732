"""Rows of measurements: one table on the terminal, one JSON file under reports/."""

import importlib.metadata
import json
import math
import os
import platform
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.table import Table

__all__ = ["Row", "read_report", "step", "write_report"]

_FILE_WIDTH = 150


@dataclass(frozen=True)
class Row:
    """One measured figure; ``target`` says what is asked of it, ``how`` what it was measured on.

    ``low`` and ``high`` are the ends of it over repeats, where there were any; ``at`` is its place on a
    curve, where it is one of many.
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

    @property
    def told(self) -> str:
        """The figure, and how far it holds."""
        ends = "" if self.low is None or self.high is None else f" ({self.low:.3g} to {self.high:.3g})"
        return f"{self.value:.4g}{ends}"


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
    """When, by which command, on what."""
    packages = ("onnxruntime", "torch", "numpy", "tritonclient")
    versions = [f"{package} {importlib.metadata.version(package)}" for package in packages]
    return {
        "date": datetime.now(tz=UTC).date().isoformat(),
        "command": " ".join([Path(sys.argv[0]).name, *sys.argv[1:]]),
        "machine": f"{_processor()}, {os.cpu_count()} cores, no GPU used",
        "versions": ", ".join(["Python " + platform.python_version(), *versions]),
    }


def _processor() -> str:
    listed = Path("/proc/cpuinfo")
    names = re.findall(r"model name\s*: (.+)", listed.read_text()) if listed.exists() else []
    return names[0] if names else platform.processor() or platform.machine()


def read_report(name: str) -> tuple[dict[str, str], list[Row]]:
    """What :func:`write_report` wrote: how it was made, and the rows.

    Raises:
        FileNotFoundError: the command that makes it has not run.
    """
    path = Path("reports") / f"{name}.json"
    if not path.exists():
        raise FileNotFoundError(f"{path} is missing; 'make {name}' writes it")
    report = json.loads(path.read_text())
    return report["made"], [Row(**row) for row in report["rows"]]


def write_report(name: str, rows: list[Row], console: Console, part: bool = False) -> Path:
    """Print the rows, write them to ``reports/<name>.json`` and return that path.

    ``part`` of a report replaces what it measured again, and leaves the other rows as they are.
    """
    table = Table("codec", "check", "value", "unit", "target", "", "how", title=name)
    for row in rows:
        mark = "[green]ok[/]" if row.ok else "[red]short[/]"
        table.add_row(row.codec, row.check, row.told, row.unit, row.target, mark, row.how)
    (console if console.is_terminal else Console(width=_FILE_WIDTH)).print(table)
    path = Path("reports") / f"{name}.json"
    path.parent.mkdir(exist_ok=True)
    finite = [asdict(row) | {"value": _finite(row.value)} for row in rows]
    made = _made()
    if part and path.exists():
        kept, again = json.loads(path.read_text()), {(row.codec, row.check) for row in rows}
        finite = [row for row in kept["rows"] if (row["codec"], row["check"]) not in again] + finite
        made |= {"command": f"{kept['made']['command']}, then {made['command']}"}
    path.write_text(json.dumps({"made": made, "rows": finite}, indent=2) + "\n")
    console.print(f"written to {path}")
    return path
