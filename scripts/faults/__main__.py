"""Kill, restart and cut off real servers under live streams, and count the samples that the streams lose.

Three servers run, each behind a proxy, with eight streams of nanocodec_mini and mimi at real-time pace. Each
stream is compared with its offline decode when it ends. A row is one kind of fault, injected several times.

kill      a server and its models get SIGKILL, and are started again
rolling   all servers are stopped and started again in turn, as for an upgrade
reset     every TCP connection to a server is broken
stall     a server takes 5 s to answer; streams wait 2 s before they try another one
gone      all servers are killed, and started after 10 s
for_good  all servers are down for longer than the streams' deadline: each stream gets one typed error
paused    the process of a model, a server or all servers are paused for 0.5, 1.1 and 3 s
short     10,000 streams of eight frames, as fast as they are answered, while models are paused

The other faults concern a single server:

haproxy   HAProxy in front of it is killed and started again
overload  twice as many streams as places: live streams stay in time, the rest are refused within 100 ms
machine   no memory left, a full disk, a damaged file, a clock that is set
clients   200 clients are killed in the middle of their streams: their places and memory come back
fuzz      10,000 malformed requests at the gRPC and HTTP ports: each is answered
attacks   wrong certificates, restricted endpoints, guessed stream ids, 10,000 idle connections, huge messages

Results: a table and reports/faults.json; with --quick reports/faults-quick.json.

Examples:
  make faults
  .venv/bin/python -m scripts.faults --quick
  .venv/bin/python -m scripts.faults --only kill --kills 5
  .venv/bin/python -m scripts.faults --only fuzz attacks --requests 2000
"""

import argparse
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np
from rich.console import Console

from scripts.common.cli import argument_parser
from scripts.common.prepare import REPOSITORY, PrepareError, build_models, default_checkpoint
from scripts.common.report import Row, progress, with_part, write_parts
from scripts.faults.attacks import attack_rows
from scripts.faults.cluster import Cluster, cluster
from scripts.faults.fuzz import fuzz_rows
from scripts.faults.haproxy import haproxy_rows
from scripts.faults.host_faults import machine_rows
from scripts.faults.killed_clients import clients_rows
from scripts.faults.load_generator import LoadGenerator, UtteranceSet, lost_row, utterances_of
from scripts.faults.pauses import pause_rows
from scripts.faults.short_streams import short_stream_rows
from scripts.load.overload import overload_rows
from tritone_client import Resume, TritoneError
from tritone_server.launcher import ServerError, TritonServer, serving

__all__ = ["CLUSTER_FAULTS", "fault_rows", "main"]

_CODECS = ("nanocodec_mini", "mimi")
_SERVERS, _PLACES, _SEED = 3, 8, 0
_SETTLE_S, _STALL_S, _GONE_S, _OVERLOAD_S = 2.0, 5.0, 10.0, 20.0
_RESUME, _RESUME_AFTER_STALL = Resume(deadline_s=60), Resume(deadline_s=60, answer_s=2.0)
_SHORT_DEADLINE = Resume(deadline_s=4)
Inject = Callable[[Cluster, int], None]
_PAUSED_FAULTS = {"paused": pause_rows, "short": short_stream_rows}
"""Faults that bring streams of their own."""


def main() -> int:
    """Entry point; returns 1 when a row misses its target, for example because a stream lost samples."""
    options, console = _options(), Console()
    name = "faults-quick" if options.quick else "faults"
    try:
        build_models([(codec, default_checkpoint(codec)) for codec in options.codec])
        ok = write_parts(name, fault_rows(REPOSITORY, options.codec, _counts(options), console), console)
    except (ServerError, PrepareError, TritoneError) as error:
        print(f"faults: {error}", file=sys.stderr)
        return 1
    return 0 if ok else 1


def _options() -> argparse.Namespace:
    parser = argument_parser("scripts.faults", __doc__)
    kinds = [*CLUSTER_FAULTS, *_PAUSED_FAULTS, *_SINGLE_SERVER_FAULTS]
    parser.add_argument(
        "--codec",
        nargs="+",
        default=_CODECS,
        help=f"codecs with streaming models (default: {' '.join(_CODECS)})",
    )
    parser.add_argument(
        "--only", choices=kinds, nargs="+", default=kinds, help="faults to inject (default: all)"
    )
    parser.add_argument("--kills", type=int, default=50, help="how often to kill a server (%(default)s)")
    parser.add_argument("--pauses", type=int, default=100, help="how often to pause processes (%(default)s)")
    parser.add_argument("--streams", type=int, default=10_000, help="short streams to run (%(default)s)")
    parser.add_argument(
        "--requests", type=int, default=10_000, help="malformed requests to send (%(default)s)"
    )
    parser.add_argument(
        "--connections", type=int, default=10_000, help="idle connections to open (%(default)s)"
    )
    parser.add_argument(
        "--quick",
        action="store_true",
        help="3 kills, 9 pauses, 200 streams, 40 clients, 500 requests and connections, other faults once",
    )
    return parser.parse_args()


def _counts(options: argparse.Namespace) -> dict[str, int]:
    times = {"kill": options.kills, "reset": 10, "stall": 3, "rolling": 2, "clients": 200}
    times |= {"paused": options.pauses, "short": options.streams, "haproxy": 5, "overload": 8, "machine": 3}
    times |= {"fuzz": options.requests, "attacks": options.connections}
    if options.quick:
        times = {
            "kill": 3,
            "paused": 9,
            "short": 200,
            "clients": 40,
            "overload": 4,
            "fuzz": 500,
            "attacks": 500,
        }
    return {kind: times.get(kind, 1) for kind in options.only}


def fault_rows(
    repository: Path, codecs: list[str], counts: Mapping[str, int], console: Console
) -> Iterator[list[Row]]:
    """Inject the faults that have a count; yield the rows of each kind."""
    injected = {kind: count for kind, count in counts.items() if kind not in _SINGLE_SERVER_FAULTS}
    if injected:
        yield from _cluster_faults(repository, codecs, injected, console)
    for kind in [kind for kind in counts if kind in _SINGLE_SERVER_FAULTS]:
        with serving(repository, codecs) as server, progress(console, f"{kind}, {counts[kind]} times"):
            utterances = {codec: utterances_of(codec, server.url) for codec in codecs}
            rows = with_part(kind, _SINGLE_SERVER_FAULTS[kind](server, utterances, counts[kind]))
        yield rows


def _cluster_faults(
    repository: Path, codecs: list[str], counts: Mapping[str, int], console: Console
) -> Iterator[list[Row]]:
    with cluster(repository, codecs, _SERVERS) as servers:
        utterances = {codec: utterances_of(codec, servers.urls[0]) for codec in codecs}
        for kind, count in counts.items():
            with progress(console, f"{kind}, {count} times"):
                rows = with_part(kind, _cluster_rows(kind, count, servers, utterances))
            yield rows


def _cluster_rows(
    kind: str, count: int, servers: Cluster, utterances: Mapping[str, UtteranceSet]
) -> list[Row]:
    for number in range(_SERVERS):
        if not servers.running(number):
            servers.restart(number)
    if kind in _PAUSED_FAULTS:
        return _PAUSED_FAULTS[kind](servers, utterances, count)
    inject, resume = CLUSTER_FAULTS[kind]
    with LoadGenerator(utterances, servers.urls, _PLACES, resume) as load:
        time.sleep(_SETTLE_S)
        for number in range(count):
            inject(servers, number)
            time.sleep(_SETTLE_S)
    return [_row(kind, count, load, resume)]


def _row(kind: str, count: int, load: LoadGenerator, resume: Resume) -> Row:
    row = lost_row(f"{kind}_lost", load, f"{count} times")
    return _for_good_row(load, resume, row.how) if kind == "for_good" else row


def _for_good_row(load: LoadGenerator, resume: Resume, how: str) -> Row:
    """A row that is ok if every stream has ended with the same typed error."""
    errors = load.result.errors
    typed = [error for error in errors if error.startswith("NoServerLeftError")]
    ok = len(errors) == len(typed) >= _PLACES
    how = f"{len(typed)} of {len(errors)} are NoServerLeftError, deadline {resume.deadline_s:g} s; {how}"
    return Row("all", "for_good_errors", len(errors), "streams", "all typed", ok, how)


def _kill(servers: Cluster, number: int) -> None:
    which = int(np.random.default_rng(_SEED + number).integers(_SERVERS))
    servers.kill(which)
    time.sleep(_SETTLE_S)
    servers.restart(which)


def _rolling(servers: Cluster, number: int) -> None:
    del number
    for which in range(_SERVERS):
        servers.restart(which)
        time.sleep(_SETTLE_S)


def _reset(servers: Cluster, number: int) -> None:
    servers.proxies[number % _SERVERS].reset()


def _stall(servers: Cluster, number: int) -> None:
    proxy = servers.proxies[number % _SERVERS]
    proxy.stall()
    time.sleep(_STALL_S)
    proxy.flow()


def _all_down(servers: Cluster, number: int) -> None:
    del number
    for which in range(_SERVERS):
        servers.kill(which)
    time.sleep(_GONE_S)
    for which in range(_SERVERS):
        servers.restart(which)


def _kill_all(servers: Cluster, number: int) -> None:
    del number
    for which in range(_SERVERS):
        servers.kill(which)
    time.sleep(2 * _SHORT_DEADLINE.deadline_s)


def _overload_rows(server: TritonServer, utterances: Mapping[str, UtteranceSet], count: int) -> list[Row]:
    """Overload the first codec, on a server with ``count`` places."""
    return overload_rows(server.repository, next(iter(utterances)), count, _OVERLOAD_S)


CLUSTER_FAULTS: Mapping[str, tuple[Inject, Resume]] = {
    "kill": (_kill, _RESUME),
    "rolling": (_rolling, _RESUME),
    "reset": (_reset, _RESUME),
    "stall": (_stall, _RESUME_AFTER_STALL),
    "gone": (_all_down, _RESUME),
    "for_good": (_kill_all, _SHORT_DEADLINE),
}
"""Faults of the three servers: how each is injected, and how the streams fail over."""

_SINGLE_SERVER_FAULTS: Mapping[str, Callable[[TritonServer, Mapping[str, UtteranceSet], int], list[Row]]] = {
    "haproxy": haproxy_rows,
    "overload": _overload_rows,
    "machine": machine_rows,
    "clients": clients_rows,
    "fuzz": fuzz_rows,
    "attacks": attack_rows,
}
"""Faults of a single server, caused by its clients, its proxy or its machine."""


if __name__ == "__main__":
    sys.exit(main())
