"""Put load on a real server: live streams, utterances, starts, overload, and a soak test.

streams   live streams in rising numbers, from NVIDIA's perf_analyzer. Each stream sends a frame when it is
          due (every 80 ms at 12.5 frames per second); streams end and new ones start, like calls. Our own
          client runs one of the streams and counts late frames and a player's underruns. A number of
          streams is served in real time if 99 % of the answers come before the next frame is due, at least
          99 % of the frames are answered, and no stream fails. The sweep ends after two late points in a
          row, or when the server is saturated.
arrivals  utterances that arrive at random (open loop), on the server and in this process: each sends a frame
          when it is due and is heard through a player with one frame in hand. Arrivals never wait, and all
          times count from the scheduled arrival or frame. The knee is the highest load at which fewer than
          1 % of utterances have an audible gap.
parallel  streams in parallel that send as fast as they are answered (closed loop), in the terms of NVIDIA's
          riva_tts_perf_client: first chunk, time between chunks, throughput
offline   whole utterances of mixed lengths, from perf_analyzer in a closed loop; one and two instances
start     a cold start, and the first audio of streams that are opened while others are live
overload  a server limited to two thirds of the streams that it serves in time; twice as many as it serves
          in time ask for a place
soak      half as many streams as the server serves in time, for minutes: memory, deadlines, every sample

Weights are seeded random ones at full geometry, which cost what trained ones cost; tokens are those of the
repository's speech sample. The load generators share this machine with the server.

Results: a table, reports/load.json, where the new rows replace those of the same codecs and parts, and plots
in reports/. With --quick they go to reports/load-quick.json, which docs/benchmarks.md does not use.

Examples:
  make load
  .venv/bin/python -m scripts.load --quick
  .venv/bin/python -m scripts.load --only streams --codec nanocodec --streams 4,5,6,7 --seconds 60
  .venv/bin/python -m scripts.load --only arrivals --codec nanocodec_mini --loads 20,30 --arrival-seconds 600
  .venv/bin/python -m scripts.load --codec nanocodec --dry-run
"""

import argparse
import sys
from collections.abc import Iterator
from math import inf
from pathlib import Path

from rich.console import Console

from scripts.common.cli import add_codec_option, argument_parser
from scripts.common.prepare import MEASURED, REPOSITORY, PrepareError, build_models, default_checkpoint
from scripts.common.report import Row, progress, read_report, with_part, write_parts
from scripts.common.speech_inputs import tokens_of
from scripts.load.arrivals import ArrivalPlan, arrival_rows, speech_in, sweep
from scripts.load.generator import GeneratorError
from scripts.load.offline import offline_rows
from scripts.load.overload import overload_rows
from scripts.load.parallel import parallel_rows
from scripts.load.perf_analyzer import PerfAnalyzerError
from scripts.load.plots import plot_latency, plot_memory
from scripts.load.soak import soak_of, soak_rows
from scripts.load.startup import cold_start_row, first_audio_rows
from scripts.load.streams import LoadError, SweepPlan, commands, run_sweep, stream_rows
from scripts.load.targets import PLACES
from tritone_client import Codec, TritoneError
from tritone_server.launcher import ServerError, serving
from tritone_server.wheels import WheelError

__all__ = ["main"]

_FAILURES = (
    LoadError,
    GeneratorError,
    PerfAnalyzerError,
    ServerError,
    WheelError,
    PrepareError,
    TritoneError,
)
_PARTS = ("streams", "arrivals", "parallel", "offline", "start", "overload", "soak")
_TARGETED, _SPOKEN = ("mimi", "nanocodec"), ("mimi",)
"""Codecs that are measured by default; the parts 'arrivals' and 'parallel' take longer, so for one codec."""
_STREAMS, _QUICK_STREAMS = "1,2,3,4,8,12,16,20,24,28", "2,8"
_SECONDS, _QUICK_SECONDS = 10.0, 5.0
_LOADS, _QUICK_LOADS = "4,8,12,16,24", "1,2"
_ARRIVAL_S, _QUICK_ARRIVAL_S = 20.0, 8.0
_PARALLEL, _QUICK_PARALLEL = (1, 4, 16), (1, 2)
_PARALLEL_S = 5.0
_SOAK_MINUTES, _QUICK_SOAK_MINUTES = 4.5, 0.1
_PLOTS = Path("reports")
_OVERLOAD_S, _QUICK_OVERLOAD_S = 15.0, 8.0
_OFFLINE_S, _QUICK_OFFLINE_S = 10.0, 8.0
"""perf_analyzer needs an answer in each third of this time."""


def main() -> int:
    """Entry point; returns 1 when a row misses its target, or when the measurement fails."""
    options, console = _options(), Console()
    name = f"load{options.suffix}"
    try:
        if options.repository is None:
            options.repository = REPOSITORY
            if not options.dry_run:
                build_models([(codec, default_checkpoint(codec)) for codec in options.codec])
        if options.dry_run:
            print("\n".join(line for codec in options.codec for line in commands(_plan(options, codec))))
            return 0
        ok = write_parts(name, _measure(options, console), console)
    except _FAILURES as error:
        print(f"load: {error}", file=sys.stderr)
        return 1
    plot_latency(_PLOTS / f"{name}.svg", read_report(name)[1])
    return 0 if ok else 1


def _options() -> argparse.Namespace:
    parser = argument_parser("scripts.load", __doc__)
    add_codec_option(parser, MEASURED, _TARGETED)
    parser.add_argument(
        "--only", choices=_PARTS, nargs="+", default=_PARTS, help="parts to measure (default: all)"
    )
    parser.add_argument(
        "--direction",
        choices=["decode", "encode"],
        default="decode",
        help="streams that decode tokens, as behind a language model, or that encode audio (%(default)s)",
    )
    parser.add_argument(
        "--streams",
        type=_counts,
        help=f"numbers of live streams, with commas (default: {_STREAMS})",
    )
    parser.add_argument(
        "--seconds",
        type=float,
        help=f"time for each number of streams (default: {_SECONDS:g}; with --quick {_QUICK_SECONDS:g})",
    )
    _add_arrivals(parser)
    parser.add_argument(
        "--soak-minutes",
        type=float,
        help=f"duration of the soak (default: {_SOAK_MINUTES:g}; with --quick {_QUICK_SOAK_MINUTES:g})",
    )
    parser.add_argument("--quick", action="store_true", help="shorter measurements, of one codec")
    parser.add_argument(
        "--repository",
        type=Path,
        help=f"serve these models as they are (default: build {REPOSITORY})",
    )
    parser.add_argument("--dry-run", action="store_true", help="only print perf_analyzer's command lines")
    return _with_defaults(parser.parse_args())


def _add_arrivals(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--loads",
        type=_loads,
        help=f"mean numbers of utterances in progress in 'arrivals', with commas (default: {_LOADS})",
    )
    parser.add_argument(
        "--arrival-seconds",
        type=float,
        help=f"time for each load (default: {_ARRIVAL_S:g}; with --quick {_QUICK_ARRIVAL_S:g})",
    )
    parser.add_argument(
        "--places",
        choices=list(PLACES),
        nargs="+",
        default=list(PLACES),
        help="where the codec is, in 'arrivals' and 'parallel' (default: all)",
    )


def _with_defaults(options: argparse.Namespace) -> argparse.Namespace:
    options.spoken = options.codec or _SPOKEN
    options.codec = options.codec or (_TARGETED[:1] if options.quick else _TARGETED)
    options.parallel_s = min(options.seconds or _PARALLEL_S, _PARALLEL_S)
    options.streams = options.streams or _counts(_QUICK_STREAMS if options.quick else _STREAMS)
    options.seconds = options.seconds or (_QUICK_SECONDS if options.quick else _SECONDS)
    options.loads = options.loads or _loads(_QUICK_LOADS if options.quick else _LOADS)
    options.arrival_seconds = options.arrival_seconds or (_QUICK_ARRIVAL_S if options.quick else _ARRIVAL_S)
    options.parallel = _QUICK_PARALLEL if options.quick else _PARALLEL
    options.suffix = "-quick" if options.quick else ""
    options.soak_minutes = options.soak_minutes or (_QUICK_SOAK_MINUTES if options.quick else _SOAK_MINUTES)
    options.overload_s = _QUICK_OVERLOAD_S if options.quick else _OVERLOAD_S
    return options


def _counts(text: str) -> list[int]:
    counts = sorted({int(each) for each in text.split(",")})
    if counts[0] < 1:
        raise argparse.ArgumentTypeError(f"numbers of streams are at least 1, got {counts[0]}")
    return counts


def _loads(text: str) -> list[float]:
    loads = sorted({float(each) for each in text.split(",")})
    if not 0 < loads[0] <= loads[-1] < inf:
        raise argparse.ArgumentTypeError(f"loads are positive numbers of utterances, got {text}")
    return loads


def _plan(options: argparse.Namespace, codec: str) -> SweepPlan:
    return SweepPlan(options.repository, codec, options.direction, options.streams, options.seconds)


def _measure(options: argparse.Namespace, console: Console) -> Iterator[list[Row]]:
    """Yield the rows of each codec and part."""
    knees: dict[str, int] = {}
    for codec in options.codec:
        if "streams" in options.only:
            sweep = run_sweep(_plan(options, codec), console)
            knees[codec] = sweep.knee
            yield with_part(f"{options.direction} streams", stream_rows(sweep, _plan(options, codec)))
    for codec in options.spoken if {"arrivals", "parallel"} & set(options.only) else ():
        yield from _utterance_parts(options, codec, console)
    for codec in options.codec:
        if "offline" in options.only:
            with progress(console, f"{codec}: whole utterances"):
                seconds = _QUICK_OFFLINE_S if options.quick else _OFFLINE_S
                rows = offline_rows(options.repository, codec, seconds, options.quick)
            yield with_part("offline", rows)
    # The other parts need a number of streams that is served in time: from the sweep of the first codec, or
    # the first of --streams.
    first = options.codec[0]
    yield from _live_parts(options, first, max(1, knees.get(first, options.streams[0])), console)


def _utterance_parts(options: argparse.Namespace, codec: str, console: Console) -> Iterator[list[Row]]:
    """Utterances in an open and in a closed loop, at each place of the codec."""
    with progress(console, f"{codec}: the speech sample"):
        speech = speech_in(options.repository, codec)
    plan = ArrivalPlan(options.loads, options.arrival_seconds)

    def told(text: str) -> None:
        console.print(text, soft_wrap=True)

    for name in options.places:
        with PLACES[name](options.repository, codec) as target:
            if "arrivals" in options.only:
                with progress(console, f"{codec}, {name}: utterances at random"):
                    points = sweep(
                        target, speech, plan, lambda each: told(f"{each.load:g}: {each.formatted}")
                    )
                yield with_part(f"arrivals {name}", arrival_rows(codec, name, points, plan))
            if "parallel" in options.only:
                with progress(console, f"{codec}, {name}: streams in parallel"):
                    rows = parallel_rows(codec, target, speech, options.parallel, options.parallel_s)
                yield with_part(f"parallel {name}", rows)


def _live_parts(options: argparse.Namespace, codec: str, knee: int, console: Console) -> Iterator[list[Row]]:
    """The parts that depend on ``knee``, the most streams that the server serves in time."""
    half = max(1, knee // 2)
    if "start" in options.only:
        with progress(console, f"{codec}: starts"):
            rows = with_part("start", _starts(options, codec, half))
        yield rows
    if "overload" in options.only:
        # docs/operations.md advises two thirds: at the knee no time is left to refuse further streams.
        places = max(1, 2 * knee // 3)
        with progress(console, f"{codec}: {2 * knee} streams ask for {places} places"):
            made = overload_rows(options.repository, codec, places, options.overload_s, 2 * knee - places)
            rows = with_part("overload", made)
        yield rows
    if "soak" in options.only:
        with progress(console, f"{codec}: {half} streams for {options.soak_minutes:g} minutes"):
            rows = with_part("soak", _soak(options, codec, half))
        yield rows


def _starts(options: argparse.Namespace, codec: str, live: int) -> list[Row]:
    cold = cold_start_row(options.repository, codec)
    with serving(options.repository, [codec]) as server, Codec(codec, server.url) as client:
        return [cold, *first_audio_rows(client, server, tokens_of(client), (0, live), options.quick)]


def _soak(options: argparse.Namespace, codec: str, streams: int) -> list[Row]:
    with serving(options.repository, [codec]) as server, Codec(codec, server.url) as client:
        soak = soak_of(client, server, tokens_of(client), streams, 60 * options.soak_minutes)
    plot_memory(_PLOTS / f"memory{options.suffix}.svg", codec, soak)
    return soak_rows(codec, soak)


if __name__ == "__main__":
    sys.exit(main())
