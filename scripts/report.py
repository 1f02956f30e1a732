"""Rows of measurements: one table on the terminal, one JSON file under reports/."""

import json
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

__all__ = ["Row", "step", "write_report"]

_FILE_WIDTH = 150


@dataclass(frozen=True)
class Row:
    """One measured figure; ``target`` says what is asked of it, ``how`` what it was measured on."""

    codec: str
    check: str
    value: float
    unit: str
    target: str
    ok: bool
    how: str


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


def write_report(name: str, rows: list[Row], console: Console) -> Path:
    """Print the rows, write them to ``reports/<name>.json`` and return that path."""
    table = Table("codec", "check", "value", "unit", "target", "", "how", title=name)
    for row in rows:
        mark = "[green]ok[/]" if row.ok else "[red]short[/]"
        table.add_row(row.codec, row.check, f"{row.value:.4g}", row.unit, row.target, mark, row.how)
    (console if console.is_terminal else Console(width=_FILE_WIDTH)).print(table)
    path = Path("reports") / f"{name}.json"
    path.parent.mkdir(exist_ok=True)
    finite = [asdict(row) | {"value": _finite(row.value)} for row in rows]
    path.write_text(json.dumps(finite, indent=2) + "\n")
    console.print(f"written to {path}")
    return path
