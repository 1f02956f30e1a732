"""docs/benchmarks.md states what the reports contain."""

import json
from datetime import timedelta
from pathlib import Path

import pytest
from rich.console import Console

from scripts.common import report
from scripts.common.prepare import MEASURED
from scripts.common.report import Row, read_report, write_report
from scripts.numbers import reasons
from scripts.numbers.__main__ import _TEMPLATE, filled
from scripts.numbers.reasons import UNKNOWN
from scripts.numbers.scaling_plot import plot_scaling
from scripts.numbers.summary import summary_table

ROWS = [
    Row("mimi", "decode_step_vs_moshi", 0.25, "ratio", "<= 0.286", True, "8 codebooks", 0.2, 0.3),
    Row("mimi", "decode_step", 10.5, "ms", "none", True, "alone"),
    Row("lfsc", "decode_vs_nemo", 1.1, "ratio", "<= 1", False, "50 frames", 1.0, 1.2),
    *(
        Row("mimi", "frame_ms_by_frames", 9 / at, "ms", "none", True, f"frames: {at}", 1, 2, at)
        for at in (1, 2)
    ),
    Row("lfsc", "frame_ms_by_frames", 4.0, "ms", "none", True, "frames: 2", 1, 2, 2),
]


@pytest.fixture(autouse=True)
def _reports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_report("bench", ROWS, Console(quiet=True))


def test_reports_are_read_as_they_were_written_and_say_how_they_were_made() -> None:
    (made,), rows = read_report("bench")
    assert rows == ROWS
    assert made["date"]
    assert made["took"].endswith(" min")
    assert "__main__" not in made["command"]
    assert "onnxruntime" in made["versions"]
    with pytest.raises(FileNotFoundError, match="'make load' writes it"):
        read_report("load")


def written(*rows: Row) -> list[Row]:
    """All rows of the report after these have been merged into it."""
    write_report("bench", list(rows), Console(quiet=True), merge=True)
    return read_report("bench")[1]


def test_a_part_of_a_codec_replaces_all_it_had_before_and_nothing_else() -> None:
    def row(codec: str, part: str, check: str, value: float) -> Row:
        return Row(codec, check, value, "ms", "none", True, "", part=part)

    old = [row(*key, 1.0) for key in (("mimi", "steps", "a"), ("mimi", "steps", "gone"))]
    others = [row(*key, 1.0) for key in (("mimi", "limits", "a"), ("lfsc", "steps", "a"))]
    assert written(*old, *others) == [*ROWS, *old, *others]
    new = row("mimi", "steps", "a", 2.0)
    assert written(new) == [*ROWS, *others, new]


def test_a_row_of_the_older_format_is_replaced_by_a_row_with_the_same_check() -> None:
    path = Path("reports/bench.json")
    (run,) = json.loads(path.read_text())["runs"]
    rows = [{key: value for key, value in row.items() if key != "part"} for row in run["rows"]]
    path.write_text(json.dumps({"made": run["made"], "rows": rows}))
    again = Row("mimi", "decode_step", 9.0, "ms", "none", True, "again", part="steps")
    assert written(again) == [*(row for row in ROWS if row.check != "decode_step"), again]


def test_the_page_says_how_every_run_in_the_report_was_made(monkeypatch: pytest.MonkeyPatch) -> None:
    written(Row("mimi", "decode_step", 9.0, "ms", "none", True, "by the same run, which writes part by part"))
    assert filled("{{made bench}}").count("onnxruntime") == 1
    monkeypatch.setattr(report, "_STARTED", report._STARTED + timedelta(hours=1))
    written(Row("mimi", "decode_step", 9.0, "ms", "none", True, "again"))
    assert filled("{{made bench}}").count("onnxruntime") == 2
    write_report("bench", ROWS, Console(quiet=True))
    assert filled("{{made bench}}").count("onnxruntime") == 1


def test_a_quick_run_leaves_the_report_unchanged() -> None:
    write_report("bench-quick", ROWS[:1], Console(quiet=True), merge=True)
    assert read_report("bench")[1] == ROWS
    assert read_report("bench-quick")[1] == ROWS[:1]


def test_the_template_exists_and_names_reports() -> None:
    assert "{{made bench}}" in _TEMPLATE.read_text()


def test_rows_are_chosen_by_their_checks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reasons, "_reasons", dict)
    page = filled("before\n{{rows bench decode_step_* decode_vs_*}}\nafter\n")
    assert page.splitlines() == [
        "before",
        "| codec | check | value | target | met | on |",
        "|---|---|---|---|---|---|",
        "| `mimi` | `decode_step_vs_moshi` | 0.25 (0.2 to 0.3) | ≤ 0.286 | yes | 8 codebooks |",
        f"| `lfsc` | `decode_vs_nemo` | 1.1 (1 to 1.2) | ≤ 1 | **no**: {UNKNOWN} | 50 frames |",
        "after",
    ]


def test_a_row_that_falls_short_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    entries = {"mimi decode_*": "first", "* decode_vs_*": "the products are as fast as theirs", "* *": "last"}
    monkeypatch.setattr(reasons, "_reasons", lambda: entries)
    assert "| ≤ 1 | **no**: the products are as fast as theirs | 50 frames |" in filled(
        "{{rows bench decode_vs_nemo}}"
    )


def test_every_reason_is_one_sentence_for_a_check_that_exists() -> None:
    template = _TEMPLATE.read_text()
    for pattern, sentence in reasons._reasons().items():
        codec, check = pattern.split(" ")
        assert codec == "*" or codec in MEASURED or codec == "all"
        assert check.strip("*_")[:6] in template, pattern
        assert len(sentence) > 20
        assert not sentence.endswith(".")
        assert "\n" not in sentence


def test_the_summary_has_a_line_per_codec_with_streams_and_the_fastest_exact_other_way() -> None:
    def row(codec: str, check: str, value: float, how: str = "") -> Row:
        return Row(codec, check, value, "ratio", "none", True, how, value, value)

    bench = [
        row("mimi", "decode_step", 10.0),
        row("mimi", "decode_step_batch8", 4.0),
        row("mimi", "decode_step_vs_moshi", 0.3, "streams: 1; 10 against 33 ms"),
        row("mimi", "decode_step_vs_rustymimi", 0.2, "streams: 1; 10 against 50 ms"),
        row("mimi", "decode_step_vs_growing_cache", 0.9, "frame 250: 1.7 dB"),
        row("mimi", "decode_step_vs_reading", 1.5, "10 ms"),
        row("lfsc", "decode_vs_nemo", 1.1),
        row("snac_24khz", "decode_step", 8.0),
        row("snac_24khz", "decode_step_batch8", 5.0),
        row(
            "snac_24khz",
            "decode_step_vs_window_1_2",
            0.9,
            "1 before it: 50.0 dB; 8 against 9",
        ),
        row(
            "snac_24khz",
            "decode_step_vs_window_3_3",
            0.2,
            "3 before it: inf dB; 8 against 40",
        ),
        row("dac_16khz", "decode_step", 8.0),
        row("dac_16khz", "decode_step_batch8", 5.0),
    ]
    load = [row("mimi", "realtime_streams", 16.0), row("snac_24khz", "latency_p99", 16.0)]
    mimi, snac, dac = summary_table(bench, load).splitlines()[2:]
    assert mimi == "| `mimi` | 10.0 | 4.0 | 8.0 | **16** (≤ 20) | 0 | 0.3 (0.3 to 0.3): moshi |"
    assert snac.startswith("| `snac_24khz` | 8.0 | 5.0 | ")
    assert snac.endswith(" | 0.2 (0.2 to 0.2): a window |")
    assert dac.endswith("| none measured |")


def test_a_curve_has_a_column_per_codec() -> None:
    page = filled("{{curve bench frame_ms_by_frames}}")
    assert page.splitlines() == [
        "| frames | `mimi` | `lfsc` |",
        "|---|---|---|",
        "| 1 | 9 (1 to 2) |  |",
        "| 2 | 4.5 (1 to 2) | 4 (1 to 2) |",
    ]


def test_shares_are_of_each_codecs_whole() -> None:
    def row(codec: str, check: str, value: float, how: str) -> Row:
        return Row(codec, check, value, "ms", "none", True, how)

    written(
        row("mimi", "whole", 8.0, "a step"),
        row("mimi", "part: MatMul", 6.0, "3 in a step"),
        row("mimi", "part: Add", 2.0, "1 in a step"),
        row("lfsc", "whole", 4.0, "another"),
        row("lfsc", "part: Conv", 1.0, "2 in a step"),
    )
    assert filled("{{shares bench whole part}}").splitlines() == [
        "`mimi`, 8.0 ms: a step.",
        "",
        "| part | share | ms per step | on |",
        "|---|---|---|---|",
        "| MatMul | 75% | 6.00 | 3 in a step |",
        "| Add | 25% | 2.00 | 1 in a step |",
        "",
        "`lfsc`, 4.0 ms: another.",
        "",
        "| part | share | ms per step | on |",
        "|---|---|---|---|",
        "| Conv | 25% | 1.00 | 2 in a step |",
    ]


def test_figures_have_a_column_each_and_percentiles_share_one() -> None:
    figures = {"utterances": 12.0, "first audio p50": 8.25, "first audio p99": float("inf"), "late %": 0.5}
    how = "in progress: 2, drawn 1.8; more"
    written(Row("mimi", "arrivals_server", 1.5, "%", "none", True, how, 0.5, 4.0, 2, figures=figures))
    assert read_report("bench")[1][-1].figures == figures | {"first audio p99": None}
    assert filled("{{figures bench arrivals_server}}").splitlines() == [
        "| codec | in progress | % | utterances | first audio p50 / p99 | late % |",
        "|---|---|---|---|---|---|",
        "| `mimi` | 2 | 1.5 (0.5 to 4) | 12 | 8.25 / never | 0.5 |",
    ]


def test_what_may_not_have_been_measured_is_a_note_until_it_is() -> None:
    assert filled("{{figures bench arrivals_*}}") == "Not measured yet."
    assert filled("{{found bench arrivals_*_knee}}") == "Not measured yet."
    written(Row("mimi", "arrivals_server_knee", 4, "in progress", "none", True, "at random", 2, 6))
    assert "| `mimi` | `arrivals_server_knee` | 4 (2 to 6) in progress |" in filled(
        "{{found bench arrivals_*_knee}}"
    )


def test_a_table_without_rows_is_an_error() -> None:
    with pytest.raises(ValueError, match="no row of bench fits nothing"):
        filled("{{rows bench nothing}}")


def test_the_scaling_plot_is_the_same_each_time(tmp_path: Path) -> None:
    paths = [tmp_path / f"{number}.svg" for number in (1, 2)]
    for path in paths:
        plot_scaling(path, ROWS)
    first, second = (path.read_text() for path in paths)
    assert first == second
    assert "frames in a request" in first
