"""Write docs/benchmarks.md and its pictures from what 'make bench', 'make load' and 'make faults' measured.

The text is scripts/benchmarks.md; a line of it in double braces becomes a table:
  {{made bench}}                 command, date, machine and versions of its runs
  {{rows bench decode_vs_*}}     every row whose check fits one of the patterns
  {{curve bench frame_ms_by_frames}}   a column per codec, a line per place on the axis
  {{shares bench step_profile operator product}}   each codec's whole, then a table of its parts per kind

Examples:
  make bench load faults numbers
  .venv/bin/python -m scripts.numbers --check
"""

import argparse
import re
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from fnmatch import fnmatch
from pathlib import Path

from scripts.common.report import Row, read_report
from scripts.numbers.scaling_plot import draw_scaling

_TEMPLATE, _PAGE = Path(__file__).with_name("benchmarks.md"), Path("docs/benchmarks.md")
_PICTURES = ("load.svg", "memory.svg")
_LINE = re.compile(r"^\{\{(\w+) (\w+) ?(.*)\}\}$", re.MULTILINE)


def main() -> int:
    """Entry point; 1 when a report is missing."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--check", action="store_true", help="print the page instead of writing it")
    options = parser.parse_args()
    try:
        page = filled(_TEMPLATE.read_text())
    except FileNotFoundError as error:
        print(f"benchmarks_page: {error}", file=sys.stderr)
        return 1
    if options.check:
        print(page)
        return 0
    _PAGE.write_text(page)
    for name in _PICTURES:
        shutil.copy2(Path("reports") / name, _PAGE.parent / name)
    draw_scaling(_PAGE.parent / "scaling.svg", read_report("bench")[1])
    print(f"written to {_PAGE}")
    return 0


def filled(template: str) -> str:
    """The text with its tables.

    Raises:
        FileNotFoundError: a report is missing.
        ValueError: a table would be empty.
    """
    return _LINE.sub(lambda found: _TABLES[found[1]](found[2], found[3].split()), template)


def _made(report: str, _: Sequence[str]) -> str:
    """A line per run that rows are left of, the newest last; its time is that of the whole run."""
    return "\n".join(_told(made) for made in read_report(report)[0])


def _told(made: Mapping[str, str]) -> str:
    took = f" in {made['took']}" if "took" in made else ""
    return f"- `{made['command']}`{took}, {made['date']}; {made['machine']}; {made['versions']}."


def _rows(report: str, patterns: Sequence[str]) -> str:
    lines = ["| codec | check | value | target | met | on |", "|---|---|---|---|---|---|"]
    for row in _chosen(report, patterns):
        met = "" if row.target == "none" else "yes" if row.ok else "**no**"
        target = "" if row.target == "none" else row.target.replace(">=", "≥").replace("<=", "≤")
        unit = "" if row.unit == "ratio" else f" {row.unit}"
        cells = (f"`{row.codec}`", f"`{row.check}`", f"{row.told}{unit}", target, met, row.how)
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _curve(report: str, patterns: Sequence[str]) -> str:
    rows = _chosen(report, patterns)
    codecs, places = list(dict.fromkeys(row.codec for row in rows)), sorted({row.at or 0 for row in rows})
    told = {(row.codec, row.at): row.told for row in rows}
    axis = rows[0].how.partition(":")[0]
    lines = [f"| {axis} | {' | '.join(f'`{codec}`' for codec in codecs)} |", "|---" * (len(codecs) + 1) + "|"]
    lines += [f"| {at:g} | {' | '.join(told.get((codec, at), '') for codec in codecs)} |" for at in places]
    return "\n".join(lines)


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


def _chosen(report: str, patterns: Sequence[str]) -> list[Row]:
    rows = [row for row in read_report(report)[1] if any(fnmatch(row.check, each) for each in patterns)]
    if not rows:
        raise ValueError(f"no row of {report} fits {' '.join(patterns)}")
    return rows


_TABLES: dict[str, Callable[[str, Sequence[str]], str]] = {
    "made": _made,
    "rows": _rows,
    "curve": _curve,
    "shares": _shares,
}


if __name__ == "__main__":
    sys.exit(main())
