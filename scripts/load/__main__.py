"""Put load on a real server: live streams in real time, whole utterances, starts, overload, and a soak.

streams   NVIDIA's perf_analyzer: every stream sends one frame when it is due (every 80 ms at 12.5 frames
          per second); streams end and others begin, as callers do. One of them is a listener of ours, which
          counts late frames and a player's underruns. A number of streams is served in real time if 99 % of
          the answers come before the next frame is due, at least 99 % of the frames are answered, and no
          stream fails. Numbers rise until answers are late twice in a row, or the server is saturated.
offline   perf_analyzer in a closed loop: utterances of mixed lengths, some at a time, one and two instances
start     a cold start, and first sound of streams that are opened while others are live
overload  a server told to take two thirds of the streams that it keeps up with is asked for twice as many
soak      half as many streams as it keeps up with, for ten minutes: memory, deadlines, and every sample

Weights are seeded random ones at full geometry, which cost what trained ones cost; tokens are those of the
repository's speech sample. The load generators run on this machine too and take some of it.

Results: a table, reports/load.json, in which the rows of the codecs and parts that were measured replace
older ones of the same, and pictures in reports/; with --quick reports/load-quick.json, of which no page is
made.

Examples:
  make load
  .venv/bin/python -m scripts.load --quick
  .venv/bin/python -m scripts.load --only streams --codec nanocodec --streams 4,5,6,7 --seconds 60
  .venv/bin/python -m scripts.load --codec nanocodec --dry-run
"""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

from rich.console import Console

from scripts.common.prepare import MEASURED, REPOSITORY, PrepareError, build_models, default_checkpoint
from scripts.common.report import Row, in_part, read_report, step, write_parts
from scripts.common.speech_inputs import tokens_of
from scripts.load.offline import offline_rows
from scripts.load.overload import overload_rows
from scripts.load.perf_analyzer import PerfAnalyzerError
from scripts.load.plots import draw, draw_memory
from scripts.load.soak import soak_of, soak_rows
from scripts.load.startup import cold_start_row, first_audio_rows
from scripts.load.streams import Asked, LoadError, commands, served_sweep, stream_rows
from tritone_client import Codec, TritoneError
from tritone_server.launcher import ServerError, serving
from tritone_server.wheels import WheelError

__all__ = ["main"]

_PARTS = ("streams", "offline", "start", "overload", "soak")
_TARGETED = ("mimi", "nanocodec")
_STREAMS, _QUICK_STREAMS = "1,2,3,4,8,12,16,20,24,28", "2,8"
_SECONDS, _QUICK_SECONDS = 12.0, 5.0
_SOAK_MINUTES, _QUICK_SOAK_MINUTES = 10.0, 0.1
_PICTURES = Path("reports")
_OVERLOAD_S, _QUICK_OVERLOAD_S = 20.0, 8.0
_OFFLINE_S, _QUICK_OFFLINE_S = 15.0, 8.0
"""perf_analyzer wants an answer in each third of it."""


def main() -> int:
    """Entry point; 1 when a row falls short, or with the reason why nothing was measured."""
    options, console = _options(), Console()
    name = f"load{options.suffix}"
    try:
        if options.repository is None:
            options.repository = REPOSITORY
            if not options.dry_run:
                build_models([(codec, default_checkpoint(codec)) for codec in options.codec])
        if options.dry_run:
            print("\n".join(line for codec in options.codec for line in commands(_asked(options, codec))))
            return 0
        well = write_parts(name, _measured(options, console), console)
    except (LoadError, PerfAnalyzerError, ServerError, WheelError, PrepareError, TritoneError) as error:
        print(f"load: {error}", file=sys.stderr)
        return 1
    draw(_PICTURES / f"{name}.svg", read_report(name)[1])
    return 0 if well else 1


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--codec", choices=list(MEASURED), nargs="+", help=f"default: {' '.join(_TARGETED)}")
    parser.add_argument("--only", choices=_PARTS, nargs="+", default=_PARTS, help="parts (default: all)")
    parser.add_argument(
        "--direction",
        choices=["decode", "encode"],
        default="decode",
        help="of streams: tokens to sound, as after a language model, or sound to tokens (%(default)s)",
    )
    parser.add_argument(
        "--streams", type=_counts, help=f"numbers of live streams to try, rising ({_STREAMS})"
    )
    parser.add_argument(
        "--seconds",
        type=float,
        help=f"measured for each number; its p99 rests on them ({_SECONDS:g}; quick: {_QUICK_SECONDS:g})",
    )
    parser.add_argument(
        "--soak-minutes",
        type=float,
        help=f"how long a soak takes ({_SOAK_MINUTES:g}; quick: {_QUICK_SOAK_MINUTES:g})",
    )
    parser.add_argument("--quick", action="store_true", help="a little of each part, of one codec")
    parser.add_argument(
        "--repository", type=Path, help=f"serve this one as it is (default: build {REPOSITORY})"
    )
    parser.add_argument("--dry-run", action="store_true", help="print perf_analyzer's command lines only")
    options = parser.parse_args()
    options.codec = options.codec or (_TARGETED[:1] if options.quick else _TARGETED)
    options.streams = options.streams or _counts(_QUICK_STREAMS if options.quick else _STREAMS)
    options.seconds = options.seconds or (_QUICK_SECONDS if options.quick else _SECONDS)
    options.suffix = "-quick" if options.quick else ""
    options.soak_minutes = options.soak_minutes or (_QUICK_SOAK_MINUTES if options.quick else _SOAK_MINUTES)
    options.overload_s = _QUICK_OVERLOAD_S if options.quick else _OVERLOAD_S
    return options


def _counts(text: str) -> list[int]:
    counts = sorted({int(each) for each in text.split(",")})
    if counts[0] < 1:
        raise argparse.ArgumentTypeError(f"numbers of streams are at least 1, got {counts[0]}")
    return counts


def _asked(options: argparse.Namespace, codec: str) -> Asked:
    return Asked(options.repository, codec, options.direction, options.streams, options.seconds)


def _measured(options: argparse.Namespace, console: Console) -> Iterator[list[Row]]:
    """The rows of each codec and part."""
    knees: dict[str, int] = {}
    for codec in options.codec:
        if "streams" in options.only:
            sweep = served_sweep(_asked(options, codec), console)
            knees[codec] = sweep.knee
            yield in_part(f"{options.direction} streams", stream_rows(sweep, _asked(options, codec)))
    for codec in options.codec:
        if "offline" in options.only:
            with step(console, f"{codec}: whole utterances"):
                seconds = _QUICK_OFFLINE_S if options.quick else _OFFLINE_S
                made = offline_rows(options.repository, codec, seconds, options.quick)
            yield in_part("offline", made)
    # The rest needs a number of streams that is kept up with: of the first codec, or as told.
    first = options.codec[0]
    yield from _lived(options, first, max(1, knees.get(first, options.streams[0])), console)


def _lived(options: argparse.Namespace, codec: str, knee: int, console: Console) -> Iterator[list[Row]]:
    """What concerns live streams, knowing how many a server keeps up with."""
    half = max(1, knee // 2)
    if "start" in options.only:
        with step(console, f"{codec}: starts"):
            rows = in_part("start", _starts(options, codec, half))
        yield rows
    if "overload" in options.only:
        # As docs/operations.md advises: at the knee nothing is left for others.
        places = max(1, 2 * knee // 3)
        with step(console, f"{codec}: {2 * knee} streams ask for {places} places"):
            made = overload_rows(
                options.repository, codec, places, options.overload_s, more=2 * knee - places
            )
            rows = in_part("overload", made)
        yield rows
    if "soak" in options.only:
        with step(console, f"{codec}: {half} streams for {options.soak_minutes:g} minutes"):
            rows = in_part("soak", _soak(options, codec, half))
        yield rows


def _starts(options: argparse.Namespace, codec: str, live: int) -> list[Row]:
    cold = cold_start_row(options.repository, codec)
    with serving(options.repository, [codec]) as server, Codec(codec, server.url) as client:
        return [cold, *first_audio_rows(client, server, tokens_of(client), (0, live), options.quick)]


def _soak(options: argparse.Namespace, codec: str, streams: int) -> list[Row]:
    with serving(options.repository, [codec]) as server, Codec(codec, server.url) as client:
        soak = soak_of(client, server, tokens_of(client), streams, 60 * options.soak_minutes)
    draw_memory(_PICTURES / f"memory{options.suffix}.svg", codec, soak)
    return soak_rows(codec, soak)


if __name__ == "__main__":
    sys.exit(main())
