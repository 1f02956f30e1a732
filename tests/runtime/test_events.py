"""Events of live streams: lines of JSON in the log, counters in the metrics."""

import json
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.summing import Clock, step, summing

from tritone_runtime.streams.events import EventLog, tag_of
from tritone_runtime.streams.scheduler import Limits, Step, StreamScheduler


@pytest.fixture
def lines() -> list[str]:
    return []


def parsed(lines: list[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in "".join(lines).splitlines()]


def streams_of(tmp_path: Path, event_log: EventLog, clock: Any, frame_s: float = 1.0) -> StreamScheduler:
    return StreamScheduler(summing(tmp_path), "tokens", "audio", Limits(1, 5, frame_s), event_log, clock)


def test_a_stream_is_in_the_log_by_a_name_that_lets_nobody_into_it(tmp_path: Path, lines: list[str]) -> None:
    clock, event_log = Clock(), EventLog("small", everything=True, put=lines.append)
    streams = streams_of(tmp_path, event_log, clock)
    streams.run([step(1, [1], start=True)])
    streams.run([step(2, [1], start=True)])
    streams.run([step(1, [1], end=True)])
    streams.run([step(3, [1], start=True)])
    clock.now = 6
    streams.expire()
    assert lines == [], "requests do not wait for the log"
    event_log.write()
    events = [(each["event"], each["stream"]) for each in parsed(lines)]
    one, two, three = map(tag_of, (1, 2, 3))
    assert events == [
        ("started", one),
        ("refused", two),
        ("ended", one),
        ("started", three),
        ("expired", three),
    ]
    assert all(each["model"] == "small" and each["time"] for each in parsed(lines))
    assert len({one, two, three}) == 3


def test_what_goes_as_it_should_is_not_logged_unless_asked_for(tmp_path: Path, lines: list[str]) -> None:
    clock, event_log = Clock(), EventLog("small", put=lines.append)
    streams = streams_of(tmp_path, event_log, clock)
    streams.run([step(1, [1], start=True)])
    streams.run([step(1, [1], end=True)])
    event_log.write()
    assert lines == []


def test_streams_that_were_elsewhere_before_are_counted(tmp_path: Path, lines: list[str]) -> None:
    event_log = EventLog("small", put=lines.append)
    streams = streams_of(tmp_path, event_log, Clock())
    arrays = {"tokens": np.ones((1, 1, 1), np.int64)}
    streams.run([Step(1, arrays, start=True, end=True, resumed=True)])
    event_log.write()
    assert streams.counters.resumed == 1
    assert [each["event"] for each in parsed(lines)] == ["resumed"]


def test_answers_that_take_longer_than_their_sound_are_late(tmp_path: Path) -> None:
    ticks: Iterator[int] = count()  # every look at the clock is a second later
    streams = streams_of(tmp_path, EventLog("small"), lambda: float(next(ticks)), frame_s=0.5)
    streams.run([step(1, [1], start=True)])
    assert streams.counters.late == 1
    streams.run([step(1, [1, 1, 1], end=True)])
    assert streams.counters.late == 1, "three frames have 1.5 s"


def test_of_a_flood_the_newest_are_written_and_the_others_counted(lines: list[str]) -> None:
    event_log = EventLog("small", put=lines.append)
    for stream in range(1500):
        event_log.note("refused", stream)
    event_log.write()
    more, *newest = parsed(lines)
    assert (more["event"], more["events"], len(newest)) == ("more", 500, 1000)
    assert newest[-1]["stream"] == tag_of(1499)
