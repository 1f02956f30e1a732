"""The table at the top of docs/benchmarks.md: a line per codec."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from scripts.common.prepare import MEASURED
from scripts.common.report import Row
from tritone_build.codecs import outline_of

__all__ = ["summary_table"]

_HEADS = (
    "codec",
    "ms a frame, one stream",
    "each of eight streams",
    "times real time",
    "streams in real time",
    "delay, ms",
    "our step ÷ the best other way",
)
_OTHER = re.compile(r"decode_step_vs_(?!reading|copying|growing_cache|window-)(.+)")
_WINDOW = re.compile(r"window_\d+.*")
_DB = re.compile(r": (inf|[\d.]+) dB")
_EXACT_DB = 100.0


@dataclass(frozen=True)
class _Frames:
    """Duration of a codec's frame, and how late its audio is in a stream, both in ms."""

    duration_ms: float
    delay_ms: float


def summary_table(bench: Sequence[Row], load: Sequence[Row]) -> str:
    """A line for each codec with live streams, in the order of the rows.

    The other ways are those that give the audio of the whole: peers that keep streams, and windows with all
    frames that matter. The best one is the fastest.

    Args:
        bench: rows of the report of ``scripts.bench``.
        load: rows of the report of ``scripts.load``.
    """
    codecs = dict.fromkeys(row.codec for row in bench if row.check == "decode_step")
    lines = [f"| {' | '.join(_HEADS)} |", "|---" * len(_HEADS) + "|"]
    lines += [_line(codec, [row for row in bench if row.codec == codec], load) for codec in codecs]
    return "\n".join(lines)


def _line(codec: str, rows: Sequence[Row], load: Sequence[Row]) -> str:
    one, eight = (_value(rows, check) for check in ("decode_step", "decode_step_batch8"))
    served = next((row.value for row in load if (row.codec, row.check) == (codec, "realtime_streams")), None)
    frames = _frames(codec)
    fitting = f"{frames.duration_ms / eight:.0f}"
    cells = (
        f"`{codec}`",
        f"{one:.1f}",
        f"{eight:.1f}",
        f"{frames.duration_ms / one:.1f}",
        f"≤ {fitting}" if served is None else f"**{served:.0f}** (≤ {fitting})",
        f"{frames.delay_ms:.0f}",
        _best(rows),
    )
    return f"| {' | '.join(cells)} |"


def _value(rows: Sequence[Row], check: str) -> float:
    return next(row.value for row in rows if row.check == check)


def _frames(codec: str) -> _Frames:
    g = outline_of(MEASURED[codec]).geometry
    return _Frames(1000 / g.frame_rate_hz, 1000 * g.delay_samples / g.sample_rate_hz)


def _best(rows: Sequence[Row]) -> str:
    """The fastest exact other way: the one with the largest ratio of our time to its time."""
    others = [(row, found[1]) for row in rows if (found := _OTHER.fullmatch(row.check)) and _exact(row)]
    if not others:
        return "none measured"
    row, name = max(others, key=lambda each: each[0].value)
    return f"{row.formatted}: {'a window' if _WINDOW.fullmatch(name) else name}"


def _exact(row: Row) -> bool:
    """Whether the other way gives the whole's audio; a peer that keeps streams has no decibels beside it."""
    found = _DB.search(row.how)
    return found is None or float(found[1]) >= _EXACT_DB
