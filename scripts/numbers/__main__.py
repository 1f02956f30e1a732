"""Write docs/benchmarks.md and its plots from the reports of 'make bench', 'make load' and 'make faults'.

The template is scripts/numbers/benchmarks.md. A line in double braces names a report and becomes a table:
  {{made bench}}
      command, date, machine and versions of each run in the report
  {{rows bench decode_vs_*}}
      all rows whose check matches one of the patterns
  {{curve bench frame_ms_by_frames}}
      a column per codec, and a line per position on the axis
  {{figures load arrivals_server}}
      a line per codec and position, with a column for each figure of the rows; percentiles share one
  {{found load arrivals_*_knee}}
      as rows, or as a note if nothing has been measured
  {{shares bench step_profile operator product}}
      for each codec the row step_profile, then a table of its operators and one of its products
  {{summary bench load}}
      a line per codec with live streams

A row that misses its target says why, in the words of scripts/numbers/reasons.yaml.

Examples:
  make bench load faults numbers
  .venv/bin/python -m scripts.numbers --check
"""

import re
import shutil
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from fnmatch import fnmatch
from pathlib import Path

from scripts.common.cli import argument_parser
from scripts.common.report import Row, read_report
from scripts.numbers.reasons import reason_of
from scripts.numbers.scaling_plot import plot_scaling
from scripts.numbers.summary import summary_table

_TEMPLATE, _PAGE = Path(__file__).with_name("benchmarks.md"), Path("docs/benchmarks.md")
_PLOTS = ("load.svg", "memory.svg")
_NOT_MEASURED = "Not measured yet."
_PERCENTILE = re.compile(r"avg|p\d+")
_LINE = re.compile(r"^\{\{(\w+) (\w+) ?(.*)\}\}$", re.MULTILINE)


def main() -> int:
    """Entry point; returns 1 when a report is missing."""
    parser = argument_parser("scripts.numbers", __doc__)
    parser.add_argument("--check", action="store_true", help="print the page instead of writing it")
    options = parser.parse_args()
    try:
        page = filled(_TEMPLATE.read_text())
    except FileNotFoundError as error:
        print(f"numbers: {error}", file=sys.stderr)
        return 1
    if options.check:
        print(page)
        return 0
    _PAGE.write_text(page)
    for name in _PLOTS:
        shutil.copy2(Path("reports") / name, _PAGE.parent / name)
    plot_scaling(_PAGE.parent / "scaling.svg", read_report("bench")[1])
    print(f"written to {_PAGE}")
    return 0


def filled(template: str) -> str:
    """Fill a template with its tables.

    Raises:
        FileNotFoundError: a report is missing.
        ValueError: a table would be empty.
    """
    return _LINE.sub(lambda found: _TABLES[found[1]](found[2], found[3].split()), template)


def _made(report: str, _: Sequence[str]) -> str:
    """A line for each run in the report, the newest last; the time is that of the whole run."""
    return "\n".join(_formatted(made) for made in read_report(report)[0])


def _formatted(made: Mapping[str, str]) -> str:
    took = f" in {made['took']}" if "took" in made else ""
    return f"- `{made['command']}`{took}, {made['date']}; {made['machine']}; {made['versions']}."


def _rows(report: str, patterns: Sequence[str]) -> str:
    lines = ["| codec | check | value | target | met | on |", "|---|---|---|---|---|---|"]
    for row in _chosen(report, patterns):
        met = "" if row.target == "none" else "yes" if row.ok else f"**no**: {reason_of(row)}"
        target = "" if row.target == "none" else row.target.replace(">=", "≥").replace("<=", "≤")
        unit = "" if row.unit == "ratio" else f" {row.unit}"
        cells = (f"`{row.codec}`", f"`{row.check}`", f"{row.formatted}{unit}", target, met, row.how)
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _curve(report: str, patterns: Sequence[str]) -> str:
    rows = _chosen(report, patterns)
    codecs, places = list(dict.fromkeys(row.codec for row in rows)), sorted({row.at or 0 for row in rows})
    values = {(row.codec, row.at): row.formatted for row in rows}
    axis = rows[0].how.partition(":")[0]
    lines = [f"| {axis} | {' | '.join(f'`{codec}`' for codec in codecs)} |", "|---" * (len(codecs) + 1) + "|"]
    lines += [f"| {at:g} | {' | '.join(values.get((codec, at), '') for codec in codecs)} |" for at in places]
    return "\n".join(lines)


def _found(report: str, patterns: Sequence[str]) -> str:
    return _rows(report, patterns) if _fitting(report, patterns) else _NOT_MEASURED


def _figures(report: str, patterns: Sequence[str]) -> str:
    rows = [row for row in _fitting(report, patterns) if row.figures]
    if not rows:
        return _NOT_MEASURED
    groups = _grouped(rows[0].figures)
    heads = [" ".join([name, " / ".join(percents)]).strip() for name, percents in groups.items()]
    heads = ["codec", rows[0].how.partition(":")[0], rows[0].unit, *heads]
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for row in rows:
        cells = [f"`{row.codec}`", f"{row.at or 0:g}", row.formatted]
        for name, percents in groups.items():
            values = [row.figures.get(f"{name} {percent}".strip()) for percent in percents or [""]]
            cells.append(" / ".join("never" if each is None else f"{each:.3g}" for each in values))
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _grouped(names: Iterable[str]) -> dict[str, list[str]]:
    """Names of figures without their percentiles, and the percentiles of each."""
    groups: dict[str, list[str]] = {}
    for name in names:
        group, _, percent = name.rpartition(" ")
        if _PERCENTILE.fullmatch(percent):
            groups.setdefault(group, []).append(percent)
        else:
            groups[name] = []
    return groups


def _shares(report: str, names: Sequence[str]) -> str:
    whole, *kinds = names
    blocks = []
    for row in _chosen(report, [whole]):
        blocks.append(f"`{row.codec}`, {row.value:.1f} ms: {row.how}.")
        for kind in kinds:
            parts = [part for part in _chosen(report, [f"{kind}: *"]) if part.codec == row.codec]
            lines = [f"| {kind} | share | ms per step | on |", "|---|---|---|---|"]
            for part in parts:
                name = part.check.removeprefix(f"{kind}: ")
                lines.append(f"| {name} | {part.value / row.value:.0%} | {part.value:.2f} | {part.how} |")
            blocks.append("\n".join(lines))
    return "\n\n".join(blocks)


def _summary(report: str, others: Sequence[str]) -> str:
    (load,) = others
    return summary_table(read_report(report)[1], read_report(load)[1])


def _chosen(report: str, patterns: Sequence[str]) -> list[Row]:
    rows = _fitting(report, patterns)
    if not rows:
        raise ValueError(f"no row of {report} fits {' '.join(patterns)}")
    return rows


def _fitting(report: str, patterns: Sequence[str]) -> list[Row]:
    return [row for row in read_report(report)[1] if any(fnmatch(row.check, each) for each in patterns)]


_TABLES: dict[str, Callable[[str, Sequence[str]], str]] = {
    "made": _made,
    "rows": _rows,
    "curve": _curve,
    "figures": _figures,
    "found": _found,
    "shares": _shares,
    "summary": _summary,
}


if __name__ == "__main__":
    sys.exit(main())
